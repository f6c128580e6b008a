"""How many rows a body holds, guessed at C speed without decoding it.

The gateway never parses a request, but fairness and the bounds of a frame need a number. The guess is made of counts
of single bytes, each of which bounds the rows of one shape of body from above: a nested list has a ``[`` a row,
a list of records a ``{`` a row, a flat list a ``,`` between any two rows, a list of strings two ``"`` a row, CSV a line
a row. It is exact for the usual bodies; brackets, commas and quotes inside of texts make it too high, and a column
oriented body (``{"inputs": {"a": [...]}}``) is counted by its commas, so too high by the number of columns.
A body is never taken for less than a row per `_BYTES_A_ROW` bytes, which bounds the error the other way.
The Open Inference Protocol says how many rows a tensor has. The exact number comes back from the worker and is what
the counters say.
"""

from __future__ import annotations

import re

from headrace_worker.wire import OPENAI, SPOKEN

_BYTES_A_ROW = 512
_SCAN_BYTES = 1 << 20
_OTHERWISE = (b"text/csv", SPOKEN)
_DIALECT = SPOKEN + OPENAI.encode()
_CONVERSATIONS = (_DIALECT + b"/chat", _DIALECT + b"/responses")
_SHAPE = re.compile(rb'"shape"\s*:\s*\[\s*([0-9]{1,9})')


def estimate_rows(head: bytes, body: bytes) -> int:
    """Guess the rows of `body`, at least 1; `head` is the request's head as on the wire. Over 1 MiB it goes by size."""
    size = len(body)
    if head.startswith(_CONVERSATIONS):
        return 1  # one call, however long
    if size > _SCAN_BYTES:
        return size // _BYTES_A_ROW
    floor = size // _BYTES_A_ROW + 1 if size > 16 * _BYTES_A_ROW else 1
    if head.startswith(_OTHERWISE):
        if head.startswith(_DIALECT):
            return max(floor, min(body.count(b",") + 1, body.count(b'"') // 2))
        if head.startswith(SPOKEN):
            return max(floor, _rows_of_tensors(body))
        return max(floor, body.count(b"\n") - 1)
    commas = body.count(b",")
    if commas == 0:
        return floor
    if b"[[" in body or b"[ [" in body:
        rows = body.count(b"[") - 1
    elif b"[{" in body or b"[ {" in body:
        rows = body.count(b"{") - 1
    else:
        rows = commas + 1
        if body.count(b"[") == 1 and (strings := body.count(b'"') // 2 - 1) > 0:
            rows = min(rows, strings)
    return max(floor, rows)


def _rows_of_tensors(body: bytes) -> int:
    """The rows of a request of the Open Inference Protocol, which says them; no more than it can hold."""
    shape = _SHAPE.search(body)
    return min(int(shape[1]), len(body)) if shape is not None else body.count(b",") + 1
