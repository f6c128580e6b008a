"""Files of answers: the input's own columns, and the predictions beside them."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.client import plain
from headrace.client.files.reading import Source, format_of
from headrace.core.errors import UsageError

PREDICTION = "prediction"

Rows = Iterable[tuple[Sequence[dict[str, Any]], list[Any]]]
"""Chunks in order: the records of the input, and as many predictions."""


def write(path: Path, source: Source, rows: Callable[[], Rows]) -> None:
    """Write a whole output under `path` in one step: there is none, or the old one, until all of it is on the disk.

    `rows` may be asked for more than once. Raises UsageError for what cannot be written in this format, and OSError.
    """
    columns = source.columns
    kind = format_of(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if kind == "parquet":
            _parquet(partial, source, rows())
        else:
            # Half a surrogate pair has no UTF-8; in JSON the escape means the same.
            ends = "" if kind == "csv" else "\n"
            with partial.open("w", encoding="utf-8", errors="backslashreplace", newline=ends) as file:
                if kind == "csv":
                    _csv(file, columns, rows)
                else:
                    file.writelines(_texts(rows()) if kind == "text" else _jsonl(columns, rows()))
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def line(prediction: Any) -> str:
    """One prediction as a line of text: a label as it is, anything else as JSON."""
    if isinstance(prediction, str) and "\n" not in prediction:
        return prediction
    return quoted(prediction)


def quoted(prediction: Any) -> str:
    """One prediction as a line of JSON."""
    return json.dumps(prediction, ensure_ascii=False, default=plain.plain)


def _texts(rows: Rows) -> Iterator[str]:
    return (f"{line(prediction)}\n" for _, predictions in rows for prediction in predictions)


def _jsonl(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    name = _free(columns)
    for records, predictions in rows:
        for record, prediction in zip(records, predictions, strict=True):
            value = {**record, name: prediction}
            yield f"{json.dumps(value, ensure_ascii=False, default=plain.plain)}\n"


def _csv(file: Any, columns: Sequence[str], rows: Callable[[], Rows]) -> None:
    """Predictions that are all records become columns of their own."""
    writer = csv.writer(file, lineterminator="\n")
    names = _names(rows())
    writer.writerow([*columns, *([_free(columns)] if names is None else [f"{PREDICTION}.{name}" for name in names])])
    for records, predictions in rows():
        for record, prediction in zip(records, predictions, strict=True):
            values = [prediction] if names is None else [(prediction or {}).get(name) for name in names]
            writer.writerow([_cell(record.get(name)) for name in columns] + [_cell(value) for value in values])


def _names(rows: Rows) -> list[str] | None:
    """The fields of all predictions, None where there are others than records; a row that failed has none."""
    names: dict[str, None] = {}
    for _, predictions in rows:
        if not all(isinstance(prediction, dict | None) for prediction in predictions):
            return None
        for prediction in predictions:
            names.update(dict.fromkeys(prediction or ()))
    return list(names) or None


def _cell(value: Any) -> Any:
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (dt.datetime, dt.date, bytes)):
        return plain.plain(value)
    return json.dumps(value, ensure_ascii=False, default=plain.plain)


def _parquet(path: Path, source: Source, rows: Rows) -> None:
    """The input's columns keep their types. One type for each column needs all of its values: written from memory."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError("writing Parquet needs pyarrow; install it, or write CSV or JSON lines") from None
    records: list[dict[str, Any]] = []
    predictions: list[Any] = []
    for some, answers in rows:
        records += some
        predictions += answers
    values = {name: [record.get(name) for record in records] for name in source.columns}
    values[_free(source.columns)] = predictions
    name = ""
    try:
        table: dict[str, Any] = {}
        for name, column in values.items():
            table[name] = pa.array(column, type=source.types.get(name))
        name = ""
        parquet.write_table(pa.table(table), path)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError) as error:
        what = f"the column {name!r}" if name else "this"
        raise UsageError(f"{what} cannot be written as Parquet: {error}; write JSON lines or CSV") from error


def _free(taken: Iterable[str]) -> str:
    """`prediction`, or a name near it where the input has such a column already."""
    names, name = set(taken), PREDICTION
    while name in names:
        name = f"{name}_"
    return name
