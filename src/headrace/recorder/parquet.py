"""A finished file of JSON lines becomes a Parquet file: whole or not at all. Needs pyarrow (extra `parquet`)."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.recorder.entries import Entry

_ROW_GROUP_ROWS = 8192
_ROW_GROUP_BYTES = 16 * 1024 * 1024

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("status", pa.int32()),
        ("latency_s", pa.float64()),
        ("queue_s", pa.float64()),
        ("rows", pa.int64()),
        ("cache", pa.string()),
        ("content_type", pa.string()),
        ("request", pa.string()),
        ("answer", pa.string()),
        ("omitted", pa.string()),
    ]
)
"""`request` and `answer` are JSON texts: every model has its own form of them."""


# As in `environments.store`: made before there are threads.
_decoder = msgspec.json.Decoder(Entry)


def convert(path: Path) -> int:
    """Turn `path` into a Parquet file beside it, and remove it; returns how many lines were no entries and left out.

    Raises OSError, and whatever pyarrow makes of an entry that fits no column; `path` is there until all is well.
    """
    left_out = 0
    target = path.with_suffix(".parquet")
    part = path.with_suffix(".parquet.part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                for entries, unreadable in _groups(path):
                    left_out += unreadable
                    if entries:
                        writer.write_table(_table(entries))
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    path.unlink()
    return left_out


def read(path: Path) -> Iterator[Entry]:
    """The entries of a Parquet file, oldest first."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                when = row.pop("time").isoformat(timespec="microseconds").replace("+00:00", "Z")
                request, answer = (_parsed(row.pop(key)) for key in ("request", "answer"))
                yield Entry(time=when, request=request, answer=answer, **row)


def _groups(path: Path) -> Iterator[tuple[list[Entry], int]]:
    """Entries, as many as make a row group, and how many lines between them were none."""
    held: list[Entry] = []
    size = unreadable = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                held.append(_decoder.decode(line))
            except (msgspec.DecodeError, RecursionError):
                unreadable += 1
            size += len(line)
            if len(held) >= _ROW_GROUP_ROWS or size >= _ROW_GROUP_BYTES:
                yield held, unreadable
                held, size, unreadable = [], 0, 0
    yield held, unreadable


def _table(entries: list[Entry]) -> Any:
    columns: dict[str, list[Any]] = {name: [getattr(entry, name) for entry in entries] for name in SCHEMA.names}
    columns["time"] = [dt.datetime.fromisoformat(value) for value in columns["time"]]
    for name in ("request", "answer"):
        columns[name] = [None if v is None else msgspec.json.encode(v).decode() for v in columns[name]]
    return pa.table(columns, schema=SCHEMA)


def _parsed(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
