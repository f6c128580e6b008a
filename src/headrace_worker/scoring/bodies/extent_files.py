"""How large a table becomes of a CSV or Parquet body, before it is made (extent.py, for tables)."""

from __future__ import annotations

import io
import re
from typing import Any

from headrace_worker.scoring.bodies import media
from headrace_worker.scoring.bodies.extent import MAX_ARRAY_BYTES, Bounds, check_cells, most_cells
from headrace_worker.scoring.errors.refusal import Refusal

MAX_ODD_NAMES = 2_000
"""Columns of a CSV header with names that repeat or are empty: pandas looks through all names for a free one."""

MAX_INDEX = 64
"""Values by which the first row of a CSV may be longer than the header: each becomes a level of pandas' index."""

_MIN_BATCH_ROWS = 8
_MAX_BATCH_ROWS = 65_536
_START = re.compile(rb"\S")
_QUOTES = re.compile(rb'"+')
_PLAIN = {separator: re.compile(rb"[^\r\n" + separator + rb"]*") for separator in (b",", b";")}


def check(kind: str, body: bytes, bounds: Bounds) -> None:
    """Raise Refusal (400) for a table beyond the bounds; what cannot be read is left to MLflow, which says so."""
    if kind == media.CSV:
        check_csv(body, bounds)
    elif kind == media.PARQUET:
        _check_parquet(body, bounds)


def check_csv(body: bytes, bounds: Bounds, separator: bytes = b",") -> None:
    """As `check`, for a CSV body with this separator (a comma or a semicolon)."""
    header, end = _record(body, 0, separator, bounds.max_columns)
    bounds.check_columns("", len(header))
    if len(header) > MAX_ODD_NAMES:
        names = {name.replace(b'"', b"") for name in header}
        if len(names) < len(header) or b"" in names:
            raise _refusal(
                "The header repeats names of columns or leaves them out, which is taken for at most "
                f"{MAX_ODD_NAMES} columns. Give each column a name of its own."
            )
    first, _ = _record(body, end, separator, bounds.max_columns)
    if len(first) > len(header) + MAX_INDEX:
        raise _refusal(
            f"The header names {len(header)} columns, and the first row has {len(first)} values. Name all columns."
        )
    columns = max(len(header), len(first))
    lines = body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")
    values = lines + body.count(separator)
    if lines * columns > most_cells(values):
        check_cells("", _count_rows(body, separator, most_cells(values) // columns), columns, values)


def _record(body: bytes, at: int, separator: bytes, most: int) -> tuple[list[bytes], int]:
    """(the fields of the next line that is not blank, where it ends); no more fields than one beyond `most`."""
    fields: list[bytes] = []
    found = _START.search(body, at)
    if found is None:
        return fields, len(body)
    # From the beginning of its line: white space in front of a quote makes that part of the text.
    at = max(at, body.rfind(b"\n", at, found.start()) + 1, body.rfind(b"\r", at, found.start()) + 1)
    while len(fields) <= most:
        start = at
        if body[at : at + 1] == b'"':
            at = _closing(body, at)
        plain = _PLAIN[separator].match(body, at)
        at = at if plain is None else plain.end()
        fields.append(body[start:at])
        if body[at : at + 1] != separator:
            break
        at += 1
    return fields, at


def _closing(body: bytes, at: int) -> int:
    """Where the quoted text ends that begins at `at`: after an odd number of quotes, for two stand for one."""
    at += 1
    for quotes in _QUOTES.finditer(body, at):
        if (quotes.end() - quotes.start()) % 2:
            return quotes.end()
    return len(body)


def _count_rows(body: bytes, separator: bytes, most: int) -> int:
    """The rows as pandas sees them, for lines may be blank or lie within quotes; none beyond one more than `most`."""
    import pandas as pd

    try:
        text = io.StringIO(body.decode("utf-8-sig"))
        return len(pd.read_csv(text, sep=separator.decode(), dtype=object, nrows=most + 1))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, MLflow says it
        return 0


def _check_parquet(body: bytes, bounds: Bounds) -> None:
    try:
        import pyarrow.parquet as pq

        file: Any = pq.ParquetFile(io.BytesIO(body))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, MLflow says it
        return
    metadata = file.metadata
    bounds.check_columns("", metadata.num_columns)
    values = texts = largest = 0
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for c in range(metadata.num_columns):
            chunk = group.column(c)
            values += chunk.num_values
            if chunk.physical_type.endswith("BYTE_ARRAY"):
                # A text may stand once in the file for any number of rows.
                texts += chunk.num_values * chunk.total_uncompressed_size
                largest = max(largest, chunk.total_uncompressed_size)
    taken = 8 * values
    if taken <= MAX_ARRAY_BYTES < taken + texts:
        taken = _parquet_bytes(file, max(_MIN_BATCH_ROWS, min(_MAX_BATCH_ROWS, MAX_ARRAY_BYTES // max(largest, 1))))
    if taken > MAX_ARRAY_BYTES:
        raise _refusal(
            f"The {metadata.num_rows} rows of the Parquet body would take more than {MAX_ARRAY_BYTES} bytes once they "
            "are unpacked. Send fewer rows at a time."
        )


def _parquet_bytes(file: Any, batch_rows: int) -> int:
    """What the table takes, unpacked a few rows at a time, until it is known to be too much."""
    taken = 0
    try:
        for batch in file.iter_batches(batch_size=batch_rows):
            taken += batch.nbytes
            if taken > MAX_ARRAY_BYTES:
                break
    except Exception:  # noqa: BLE001 - whatever is wrong with it, MLflow says it
        return 0
    return taken


def _refusal(message: str) -> Refusal:
    return Refusal(400, "BAD_REQUEST", message)
