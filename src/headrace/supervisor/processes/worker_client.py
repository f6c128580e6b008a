"""Sends requests to one worker directly, as a gateway does, for the checks before it gets any traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from headrace.core.protocol.raised import Raised, raised_in
from headrace_worker import wire

JSON = wire.head(b"application/json")


class ProbeFailed(Exception):
    """The worker did not answer a probe: it ended, hung, or answered something else."""


class ProbeAnswer(NamedTuple):
    """One answer. `raised`: the exception that the model has raised; None where none is known."""

    status: int
    body: bytes
    raised: Raised | None


async def ask(socket: str, bodies: Sequence[bytes], within_s: float) -> list[ProbeAnswer]:
    """Send JSON requests to the worker behind `socket`, one after another; raises ProbeFailed after `within_s` each."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise ProbeFailed(f"the worker cannot be reached: {error}") from None
    try:
        return [await _ask_one(reader, writer, number, body, within_s) for number, body in enumerate(bodies)]
    finally:
        writer.close()


async def _ask_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, body: bytes, within_s: float
) -> ProbeAnswer:
    frames = wire.FrameReader()
    writer.write(wire.encode_batch(number, [JSON], b"\0", [body]))
    try:
        async with asyncio.timeout(within_s):
            while data := await reader.read(262_144):
                for frame in frames.feed(data):
                    if frame.kind == wire.ANSWERS and frame.batch_id == number:
                        decoded = wire.decode_answers(frame.payload)
                        (answer, *_), raised = decoded.answers, raised_in(decoded.notes)
                        return ProbeAnswer(answer.status, bytes(answer.body), raised[0] if raised else None)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {within_s:g} s") from None
    except (OSError, wire.WireError, ValueError) as error:
        raise ProbeFailed(f"the worker broke off: {error}") from None
    raise ProbeFailed("the worker ended while it was asked")
