"""One input, whole or in parts: sent with bounded parallelism, put together in the order of its rows."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from headrace.client.cutting import Part, cut
from headrace.client.decoding import NotAnAnswer, decode, joined
from headrace.client.encoding import Payload
from headrace.client.errors import (
    ClientError,
    DeadlineExceeded,
    ModelError,
    Overloaded,
    PartialFailure,
    RowsFailed,
    Unavailable,
)
from headrace.client.options import Options
from headrace.client.replies import Prediction

Ask = Callable[[Part], Awaitable[Prediction]]
"""Sends one part; the value of what it returns is the answer's body."""

_IN_VAIN = (Unavailable, Overloaded, DeadlineExceeded)

Progress = Callable[[int], None]
"""Told how many more rows are done."""


def begin(payload: Payload, options: Options) -> tuple[Part, Iterator[Part] | None]:
    """Return the first part of `payload` and those that follow, None if the first is all of it. Raises BadRequest."""
    source = cut(payload, options.max_rows, options.max_bytes)
    first = next(source)
    return first, (None if first.stop == (payload.rows or 0) else source)


async def predict(ask: Ask, payload: Payload, options: Options, progress: Progress) -> Prediction:
    """Send `payload` and return its predictions; raises ClientError."""
    first, rest = begin(payload, options)
    if rest is not None:
        return await predict_cut(ask, payload, options, progress, first, rest)
    answer = read(await ask(first), payload)
    progress(payload.rows or 1)
    return answer


async def predict_cut(
    ask: Ask, payload: Payload, options: Options, progress: Progress, first: Part, rest: Iterator[Part]
) -> Prediction:
    """Send the parts that `begin` made, `options.parallel` at a time.

    One failed part does not stop the others: PartialFailure says at the end what is missing. Only where a part was
    repeated until its deadline in vain nothing more is sent: each further one would take as long. Cancelling ends them
    all.
    """
    lock = asyncio.Lock()
    done: dict[int, tuple[Part, Prediction | ClientError]] = {}
    begun = first.stop
    gone: ClientError | None = None

    async def following() -> Part | None:
        nonlocal begun
        async with lock:
            if gone is not None:
                return None
            # In a thread: writing megabytes of JSON would hold up everybody else in this loop.
            part = await asyncio.to_thread(next, rest, None)
            begun = part.stop if part is not None else begun
            return part

    async def work(part: Part | None) -> None:
        nonlocal gone
        while part is not None:
            result = await _one(ask, part, payload)
            done[part.start] = (part._replace(body=b""), result)
            if isinstance(result, _IN_VAIN) and options.max_tries is None and options.idempotent:
                gone = result
            progress(part.stop - part.start)
            part = await following()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(first))
            for _ in range(options.parallel - 1):
                group.create_task(work(await following()))
    except ExceptionGroup as errors:
        # Rows without a JSON form: what was found first is told as it would be of an input in one piece.
        raise errors.exceptions[0] from None
    if gone is not None and begun < (payload.rows or 0):
        unsent = type(gone)(f"not sent, for rows before had no answer: {gone.message}", address=gone.address)
        done[begun] = (Part(begun, payload.rows or 0, b""), unsent)
    return _together([done[start] for start in sorted(done)], payload.rows or 0)


def predict_in_turn(
    ask: Callable[[bytes], Prediction], payload: Payload, options: Options, progress: Progress
) -> Prediction:
    """`predict` without an event loop, one part after the other: for a model in this process."""
    first, rest = begin(payload, options)
    if rest is None:
        answer = read(ask(first.body), payload)
        progress(payload.rows or 1)
        return answer
    done: list[tuple[Part, Prediction | ClientError]] = []
    for part in itertools.chain([first], rest):
        try:
            result: Prediction | ClientError = read(ask(part.body), payload)
        except ClientError as error:
            result = error
        progress(part.stop - part.start)
        done.append((part._replace(body=b""), result))
    return _together(done, payload.rows or 0)


async def _one(ask: Ask, part: Part, payload: Payload) -> Prediction | ClientError:
    try:
        return read(await ask(part), payload)
    except ClientError as error:
        return error


def read(answer: Prediction, payload: Payload) -> Prediction:
    """Turn the answer's body into predictions; raises Unavailable if it holds none."""
    try:
        return replace(answer, value=decode(answer.value, wrapped=payload.wrapped))
    except NotAnAnswer as problem:
        raise Unavailable(
            f"{problem}; is this the address of a model server?",
            status=200,
            request_id=answer.request_id,
            tries=answer.tries,
            address=answer.address,
        ) from None


def _together(done: list[tuple[Part, Prediction | ClientError]], rows: int) -> Prediction:
    failures = tuple(RowsFailed(p.start, p.stop, r) for p, r in done if isinstance(r, ClientError))
    if failures:
        raise PartialFailure(failures, _with_gaps(done), rows)
    answers = [r for _, r in done if isinstance(r, Prediction)]
    value = joined([a.value for a in answers], [p.stop - p.start for p, _ in done])
    if value is None:
        raise ModelError(
            f"the model does not answer with one prediction for each row, so the answers to the {len(done)} parts of "
            "this input cannot be put together; send it whole, with max_rows=None and max_bytes=None"
        )
    return replace(answers[0], value=value, tries=sum(a.tries for a in answers), took_s=max(a.took_s for a in answers))


def _with_gaps(done: list[tuple[Part, Prediction | ClientError]]) -> list[Any] | None:
    predictions: list[Any] = []
    for part, result in done:
        count = part.stop - part.start
        if isinstance(result, ClientError):
            predictions += [None] * count
        elif isinstance(result.value, list) and len(result.value) == count:
            predictions += result.value
        else:
            return None
    return predictions
