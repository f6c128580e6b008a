"""How many rows a body holds, guessed at C speed without decoding it.

The gateway never parses a request, but fairness and the bounds of a frame need a number. The guess is made of counts
of single bytes, each of which bounds the rows of one shape of body from above: a nested list has a ``[`` a row,
a list of records a ``{`` a row, a flat list a ``,`` between any two rows, a list of strings two ``"`` a row, CSV a line
a row. It is exact for the usual bodies; brackets, commas and quotes inside of texts make it too high, and a column
oriented body (``{"inputs": {"a": [...]}}``) is counted by its commas, so too high by the number of columns.
A body is never taken for less than a row per `_BYTES_A_ROW` bytes, which bounds the error the other way.
The exact number comes back from the worker and is what the counters say.
"""

from __future__ import annotations

_BYTES_A_ROW = 512
_SCAN_BYTES = 1 << 20


def estimate_rows(head: bytes, body: bytes) -> int:
    """Guess the rows of `body`, at least 1; `head` is the request's head as on the wire. Over 1 MiB it goes by size."""
    size = len(body)
    if size > _SCAN_BYTES:
        return size // _BYTES_A_ROW
    floor = size // _BYTES_A_ROW + 1 if size > 16 * _BYTES_A_ROW else 1
    if head.startswith(b"text/csv"):
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
