"""Predicting a whole file: several chunks in the air, each noted when it is done, the output written at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from headrace.client.errors import (
    BadRequest,
    ClientError,
    ModelError,
    PartialFailure,
    RowsFailed,
)
from headrace.client.files.journal import Journal
from headrace.client.files.reading import Chunk, Source

Predict = Callable[[Any], Any]
"""Asks the model for a chunk's inputs; safe for threads."""

_IN_VAIN = 100
"""So many rows that fail, and none that is answered: it is not the rows that are wrong."""


@dataclass(frozen=True)
class Outcome:
    """A chunk that was asked: a prediction for each of its rows, and why those of `failed` (from 0) have None."""

    chunk: Chunk
    predictions: list[Any]
    failed: Mapping[int, ClientError]

    @property
    def why(self) -> dict[int, str]:
        """Why rows failed, in words."""
        return {row: error.message for row, error in self.failed.items()}


def answers(predict: Predict, chunks: Iterator[Chunk], parallel: int) -> Iterator[Outcome]:
    """Yield each chunk's outcome as it is done, at most `parallel` in the air.

    A chunk that the model refuses is asked again in halves, down to the rows that it is refused for. Raises ClientError
    where the server is gone, has no time, or answers otherwise than once for each row, and where none of the first 100
    rows is answered. Closing this waits for nothing: what is in the air ends when the caller's client is closed.
    """
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="headrace-predict")
    asking = _Asking(predict)
    flying: set[Future[Outcome]] = set()
    try:
        for chunk in chunks:
            flying.add(pool.submit(asking.ask, chunk))
            if len(flying) >= parallel:
                yield from _landed(flying)
        while flying:
            yield from _landed(flying)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def in_order(found: Iterator[Outcome]) -> Iterator[Outcome]:
    """Yield what `answers` gives in the order of the rows."""
    early: dict[int, Outcome] = {}
    due = 0
    for outcome in found:
        early[outcome.chunk.start] = outcome
        while due in early:
            ready = early.pop(due)
            due = ready.chunk.stop
            yield ready


def fill(
    journal: Journal,
    source: Source,
    predict: Predict,
    *,
    chunk_rows: int,
    parallel: int,
    tell: Callable[[int], None],
    keep_failed: bool = False,
) -> None:
    """Predict every chunk that `journal` does not have yet; `tell` hears how many more rows are done.

    A row that the model refuses does not stop the others: with `keep_failed` it is noted with its reason, otherwise its
    chunk is not noted, and PartialFailure names all such rows at the end. When the server is gone, it ends at once:
    what is done is done.
    """
    missing = (chunk for chunk in source.chunks(chunk_rows) if chunk.start not in journal)
    failed: dict[int, ClientError] = {}
    for outcome in answers(predict, missing, parallel):
        if keep_failed or not outcome.failed:
            journal.add(outcome.chunk.start, outcome.predictions, outcome.why)
        failed.update(outcome.failed)
        tell(len(outcome.predictions))
    if failed and not keep_failed:
        raise refused(failed, source.rows)


def refused(failed: Mapping[int, ClientError], rows: int) -> PartialFailure:
    """The error that names the rows without an answer."""
    return PartialFailure(tuple(RowsFailed(row, row + 1, error) for row, error in sorted(failed.items())), None, rows)


def done(journal: Journal, source: Source, chunk_rows: int, *, skip: bool = False) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the records of each chunk with its predictions, in order; every chunk must be in `journal`.

    A row that failed has None for its prediction, or is left out (`skip`).
    """
    failed = journal.failed()
    for chunk in source.chunks(chunk_rows):
        records, predictions = chunk.records, journal.predictions(chunk.start)
        if skip and any(row in failed for row in range(chunk.start, chunk.stop)):
            kept = [at for at in range(len(predictions)) if chunk.start + at not in failed]
            records, predictions = [records[at] for at in kept], [predictions[at] for at in kept]
        yield records, predictions


def _landed(flying: set[Future[Outcome]]) -> Iterator[Outcome]:
    """Take what is done out of `flying`; an error comes after all that is well."""
    finished, _ = wait(flying, return_when=FIRST_COMPLETED)
    flying -= finished
    for future in sorted(finished, key=lambda one: one.exception() is not None):
        yield future.result()


class _Uneven(ModelError):
    """The model does not answer once for each row: asking for fewer of them would make no better sense of it."""


class _Asking:
    """Asks for chunks, from several threads; knows whether any row was ever answered."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._lock = threading.Lock()
        self._answered = False
        self._failed = 0

    def ask(self, chunk: Chunk) -> Outcome:
        """The chunk's outcome; raises ClientError for what is no single row's fault."""
        predictions: list[Any] = []
        failed: dict[int, ClientError] = {}
        todo = [chunk]
        while todo:
            part = todo.pop()
            try:
                predictions += _one_for_each(self._predict(part.inputs), len(part.records))
                self._answered = True
            except _Uneven:
                raise
            except (BadRequest, ModelError, PartialFailure) as error:
                # A row that kills its worker is not looked for: that would kill one more at each step.
                if len(part.records) > 1 and error.code != "WORKER_DIED":
                    middle = len(part.records) // 2
                    todo += [part.cut(middle, len(part.records)), part.cut(0, middle)]
                    continue
                self._note(error, len(part.records))
                predictions += [None] * len(part.records)
                failed.update(dict.fromkeys(range(part.start, part.stop), error))
        return Outcome(chunk, predictions, failed)

    def _note(self, error: ClientError, rows: int) -> None:
        with self._lock:
            self._failed += rows
            if self._failed >= _IN_VAIN and not self._answered:
                raise _Uneven(
                    f"none of the first {self._failed} rows was answered; the last one because: {error.message}",
                    status=error.status,
                    code=error.code,
                    request_id=error.request_id,
                )


def _one_for_each(predictions: Any, rows: int) -> list[Any]:
    """The predictions as a list with one for each row; raises _Uneven."""
    if isinstance(predictions, dict) and all(isinstance(v, list) and len(v) == rows for v in predictions.values()):
        predictions = [
            dict(zip(predictions, values, strict=True)) for values in zip(*predictions.values(), strict=True)
        ]
    if isinstance(predictions, list) and len(predictions) == rows:
        return predictions
    raise _Uneven(f"the model does not answer {rows} rows with {rows} predictions")
