"""Files of answers: the input's own columns, and the predictions beside them."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.client import plain
from headrace.client.files.reading import format_of
from headrace.core.errors import UsageError

PREDICTION = "prediction"

Rows = Iterable[tuple[Sequence[dict[str, Any]], list[Any]]]
"""Chunks in order: the records of the input, and as many predictions."""


def write(path: Path, columns: Sequence[str], rows: Rows) -> None:
    """Write a whole output under `path` in one step: there is none, or the old one, until all of it is on the disk.

    Raises UsageError for a format that cannot be written here.
    """
    kind = format_of(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if kind == "parquet":
            _parquet(partial, rows)
        else:
            with partial.open("w", encoding="utf-8", newline="" if kind == "csv" else "\n") as file:
                if kind == "csv":
                    _csv(file, columns, rows)
                else:
                    file.writelines(_texts(rows) if kind == "text" else _jsonl(rows))
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def line(prediction: Any) -> str:
    """One prediction as a line of text: a label as it is, anything else as JSON."""
    if isinstance(prediction, str) and "\n" not in prediction:
        return prediction
    return json.dumps(prediction, ensure_ascii=False, default=plain.plain)


def _texts(rows: Rows) -> Iterator[str]:
    return (f"{line(prediction)}\n" for _, predictions in rows for prediction in predictions)


def _jsonl(rows: Rows) -> Iterator[str]:
    for records, predictions in rows:
        for record, prediction in zip(records, predictions, strict=True):
            value = {**record, _free(record): prediction}
            yield f"{json.dumps(value, ensure_ascii=False, default=plain.plain)}\n"


def _csv(file: Any, columns: Sequence[str], rows: Rows) -> None:
    """Predictions that are records become columns of their own, named by the first of them."""
    writer = csv.writer(file, lineterminator="\n")
    names: list[str] | None = None
    started = False
    for records, predictions in rows:
        for record, prediction in zip(records, predictions, strict=True):
            if not started:
                started = True
                names = list(prediction) if isinstance(prediction, dict) else None
                heads = [_free(columns)] if names is None else [f"{PREDICTION}.{name}" for name in names]
                writer.writerow([*columns, *heads])
            values = [prediction] if names is None else [prediction.get(name) for name in names]
            writer.writerow([_cell(record.get(name)) for name in columns] + [_cell(value) for value in values])
    if not started:
        writer.writerow([*columns, _free(columns)])


def _cell(value: Any) -> Any:
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (dt.datetime, dt.date, bytes)):
        return plain.plain(value)
    return json.dumps(value, ensure_ascii=False, default=plain.plain)


def _parquet(path: Path, rows: Rows) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError("writing Parquet needs pyarrow; install it, or write CSV or JSON lines") from None
    table: list[dict[str, Any]] = []
    for records, predictions in rows:
        table += [{**r, _free(r): p} for r, p in zip(records, predictions, strict=True)]
    # One type for each column needs all of its values: this format is written from memory.
    parquet.write_table(pa.Table.from_pylist(table), path)


def _free(taken: Iterable[str]) -> str:
    """`prediction`, or a name near it where the input has such a column already."""
    names, name = set(taken), PREDICTION
    while name in names:
        name = f"{name}_"
    return name
