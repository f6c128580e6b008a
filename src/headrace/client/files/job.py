"""Predicting a whole file: several chunks in the air, each noted when it is done, the output written at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from headrace.client.errors import (
    ClientError,
    DeadlineExceeded,
    ModelError,
    Overloaded,
    PartialFailure,
    RowsFailed,
    Unavailable,
)
from headrace.client.files.journal import Journal
from headrace.client.files.reading import Chunk, Source

Predict = Callable[[Any], Any]
"""Asks the model for a chunk's inputs; safe for threads."""


def answers(
    predict: Predict, chunks: Iterator[Chunk], parallel: int
) -> Iterator[tuple[Chunk, list[Any] | ClientError]]:
    """Yield each chunk with its predictions or why there are none, as they are done, at most `parallel` in the air.

    Closing this waits for nothing: what is in the air ends when the caller's client is closed. A chunk whose model does
    not answer once for each row is a ModelError.
    """
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="headrace-predict")
    flying: dict[Future[Any], Chunk] = {}
    try:
        for chunk in chunks:
            flying[pool.submit(predict, chunk.inputs)] = chunk
            if len(flying) >= parallel:
                yield from _landed(flying)
        while flying:
            yield from _landed(flying)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def in_order(found: Iterator[tuple[Chunk, list[Any] | ClientError]]) -> Iterator[tuple[Chunk, list[Any]]]:
    """Yield what `answers` gives in the order of the rows; raises the first error."""
    early: dict[int, tuple[Chunk, list[Any]]] = {}
    due = 0
    for chunk, result in found:
        if isinstance(result, ClientError):
            raise result
        early[chunk.start] = (chunk, result)
        while due in early:
            ready, predictions = early.pop(due)
            due = ready.stop
            yield ready, predictions


def fill(
    journal: Journal, source: Source, predict: Predict, *, chunk_rows: int, parallel: int, tell: Callable[[int], None]
) -> None:
    """Predict every chunk that `journal` does not have yet; `tell` hears how many more rows are done.

    A chunk that the model refuses does not stop the others: PartialFailure names its rows at the end. When the server
    is gone, it ends at once: what is done is done.
    """
    missing = (chunk for chunk in source.chunks(chunk_rows) if chunk.start not in journal)
    failures: list[RowsFailed] = []
    for chunk, result in answers(predict, missing, parallel):
        if isinstance(result, (Unavailable, Overloaded, DeadlineExceeded)):
            raise result
        if isinstance(result, ClientError):
            failures.append(RowsFailed(chunk.start, chunk.stop, result))
        else:
            journal.add(chunk.start, result)
        tell(chunk.stop - chunk.start)
    if failures:
        raise PartialFailure(tuple(sorted(failures, key=lambda f: f.start)), None, source.rows)


def done(journal: Journal, source: Source, chunk_rows: int) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the records of each chunk with its predictions, in order; every chunk must be in `journal`."""
    for chunk in source.chunks(chunk_rows):
        yield chunk.records, journal.predictions(chunk.start)


def _landed(flying: dict[Future[Any], Chunk]) -> Iterator[tuple[Chunk, list[Any] | ClientError]]:
    finished, _ = wait(flying, return_when=FIRST_COMPLETED)
    for future in finished:
        chunk = flying.pop(future)
        try:
            predictions = future.result()
        except ClientError as error:
            yield chunk, error
            continue
        rows = len(chunk.records)
        if isinstance(predictions, dict) and all(isinstance(v, list) and len(v) == rows for v in predictions.values()):
            predictions = [
                dict(zip(predictions, values, strict=True)) for values in zip(*predictions.values(), strict=True)
            ]
        if isinstance(predictions, list) and len(predictions) == rows:
            yield chunk, predictions
        else:
            yield chunk, ModelError(f"the model does not answer {rows} rows with {rows} predictions")
