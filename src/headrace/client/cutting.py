"""A big input as several requests: bounded in rows and in bytes, in order, nothing lost and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from headrace.client.encoding import Payload

_SAMPLE_ROWS = 64


class Part(NamedTuple):
    """Rows `start` up to but not including `stop`, as a request; `typed` writes it for a model made of type hints."""

    start: int
    stop: int
    body: bytes
    typed: Callable[[], bytes] | None = None


def cut(payload: Payload, max_rows: int | None, max_bytes: int | None) -> Iterator[Part]:
    """Cut an input into parts of at most `max_rows` rows and `max_bytes` bytes; a single row may be larger.

    None stands for no limit. What has no rows is one part. Each part is written when it is asked for, so that memory
    holds few of them at a time. Raises BadRequest as `Payload.body` does.
    """
    rows = payload.rows
    if rows is None or rows == 0:
        yield Part(0, rows or 0, payload.whole(), _typed(payload, 0, rows or 0))
        return
    step = min(rows, max_rows or rows)
    if max_bytes is not None and rows > _SAMPLE_ROWS:
        # A look at the first rows saves writing far too large a part only to halve it again.
        row_bytes = max(1, len(payload.body(0, _SAMPLE_ROWS)) // _SAMPLE_ROWS)
        step = max(1, min(step, max_bytes // row_bytes))
    start = 0
    while start < rows:
        stop = min(rows, start + step)
        body = payload.body(start, stop)
        while max_bytes is not None and len(body) > max_bytes and stop - start > 1:
            stop = start + (stop - start) // 2
            body = payload.body(start, stop)
        yield Part(start, stop, body, _typed(payload, start, stop))
        start = stop


def _typed(payload: Payload, start: int, stop: int) -> Callable[[], bytes] | None:
    return partial(payload.typed.body, start, stop) if payload.typed is not None else None
