"""Files of inputs, read in chunks that are the same each time: text lines, CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headrace.client.encoding import Table
from headrace.core.errors import UsageError

Format = Literal["text", "csv", "jsonl", "parquet"]

FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
INPUT = "input"
"""The name of the one column of inputs that have none: text lines, and JSON lines that are no objects."""

_BLOCK_BYTES = 1 << 20
_LONGEST_CELL = 1 << 30
"""The csv module gives up at 128 KiB unless told otherwise: less than a long article."""
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|inf)")
_NULLS = frozenset({"", "NA", "NaN", "nan", "null", "None"})


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file. `inputs` is what the model is asked, `records` the rows as they go to the output."""

    start: int
    inputs: Any
    records: Sequence[dict[str, Any]]

    @property
    def stop(self) -> int:
        """The row after the last one."""
        return self.start + len(self.records)

    def cut(self, start: int, stop: int) -> Chunk:
        """Its rows from `start` up to `stop`, counted from its own first one."""
        inputs = self.inputs
        part = Table(inputs.columns, inputs.rows[start:stop]) if isinstance(inputs, Table) else inputs[start:stop]
        return Chunk(self.start + start, part, self.records[start:stop])


@dataclass(frozen=True)
class Source:
    """A file that can be read as often as need be. `rows` is how many it has, `digest` the SHA-256 of its bytes.

    `types` are Arrow's of its columns, where it says them.
    """

    rows: int
    digest: str
    columns: tuple[str, ...]
    chunks: Callable[[int], Iterator[Chunk]]
    types: Mapping[str, Any] = field(default_factory=dict)


def format_of(path: Path) -> Format:
    """Return the format that a file's name says; raises UsageError for a name that says none."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"{path}: what is it? its name must end in one of {', '.join(FORMATS)}")
    return found


def open_source(path: Path, column: str | None) -> Source:
    """Open a file; `column` names the one column that the model is asked, None: all of them.

    A table with a single column is asked as a list of its values, which every kind of model takes. Raises UsageError
    for a file that cannot be read as what its name says.
    """
    kind = format_of(path)
    try:
        digest = _digest(path)
        if kind == "text":
            with path.open(encoding="utf-8-sig") as file:  # line by line: splitlines would cut at U+2028 too
                return lines([text.removesuffix("\n") for text in file], digest)
        if kind == "csv":
            return _csv(path, digest, column)
        return _jsonl(path, digest, column) if kind == "jsonl" else _parquet(path, digest, column)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (UnicodeError, csv.Error) as error:
        raise UsageError(f"{path}: {error}") from None


def lines(texts: list[str], digest: str = "") -> Source:
    """Lines that are held in memory: what came on the standard input."""
    digest = digest or hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()

    def chunks(size: int) -> Iterator[Chunk]:
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            yield Chunk(start, part, [{INPUT: text} for text in part])

    return Source(len(texts), digest, (INPUT,), chunks)


def _digest(path: Path) -> str:
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            made.update(block)
    return made.hexdigest()


def _choose(path: Path, columns: Sequence[str], column: str | None) -> str | None:
    """The only column to ask, None for all."""
    if column is not None and column not in columns:
        raise UsageError(f"{path}: there is no column {column!r}; there are: {', '.join(columns)}")
    return columns[0] if column is None and len(columns) == 1 else column


def _see_once(path: Path, columns: Sequence[str]) -> None:
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"{path}: more than one column is named {', '.join(map(repr, twice))}")


def _csv(path: Path, digest: str, column: str | None) -> Source:
    csv.field_size_limit(_LONGEST_CELL)

    def rows() -> Iterator[list[str]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (row for row in csv.reader(file) if row)

    head = next(rows(), None)
    if head is None:
        raise UsageError(f"{path}: the file is empty; its first line must name the columns")
    _see_once(path, head)
    only = _choose(path, head, column)
    # A column's type is that of all of its cells: a guess from the first ones could change in the middle of the file.
    ladders = [_Ladder() for _ in head]
    count = 0
    for number, row in enumerate(itertools.islice(rows(), 1, None), 2):
        if len(row) != len(head):
            raise UsageError(f"{path}: row {number} has {len(row)} cells, the first line names {len(head)}")
        for ladder, cell in zip(ladders, row, strict=True):
            ladder.see(cell)
        count += 1

    def chunks(size: int) -> Iterator[Chunk]:
        body = itertools.islice(rows(), 1, None)
        for start in range(0, count, size):
            part = list(itertools.islice(body, size))
            typed = [[ladder.read(cell) for ladder, cell in zip(ladders, row, strict=True)] for row in part]
            inputs = Table(head, typed) if only is None else [row[head.index(only)] for row in typed]
            yield Chunk(start, inputs, [dict(zip(head, row, strict=True)) for row in part])

    return Source(count, digest, tuple(head), chunks)


class _Ladder:
    """The narrowest of integer, number and text that holds every cell of a column."""

    def __init__(self) -> None:
        self._rung = 0
        self._wide = False

    def see(self, cell: str) -> None:
        """Climb until this cell fits."""
        if cell in _NULLS:
            return
        if self._rung == 0:
            try:
                self._wide |= abs(_integer(cell)) > 2**53
            except ValueError:
                # A whole number that a float cannot hold is no number in a column with fractions.
                self._rung = 2 if self._wide else 1
        if self._rung == 1:
            try:
                _number(cell)
            except ValueError:
                self._rung = 2

    def read(self, cell: str) -> Any:
        """The cell's value, once all were seen."""
        if self._rung == 2:
            return cell
        if cell in _NULLS:
            return None
        return float(cell) if self._rung else int(cell)


def _integer(cell: str) -> int:
    """Only what is written as Python writes it: 007 and 1_000 are no numbers but names."""
    value = int(cell)
    if str(value) != cell or not -(2**63) <= value < 2**63:
        raise ValueError(cell)
    return value


def _number(cell: str) -> float:
    """Only what is surely a number, and no whole number that would lose digits as one."""
    if not _NUMBER.fullmatch(cell) or (cell.lstrip("+-").isdigit() and abs(int(cell)) > 2**53):
        raise ValueError(cell)
    return float(cell)


def _jsonl(path: Path, digest: str, column: str | None) -> Source:
    def values() -> Iterator[Any]:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}: line {number} is not JSON: {error}") from None

    names: dict[str, None] = {}
    count = 0
    for value in values():
        names.update(dict.fromkeys(value) if isinstance(value, dict) else {INPUT: None})
        count += 1
    if column is not None:
        _choose(path, tuple(names), column)

    def chunks(size: int) -> Iterator[Chunk]:
        source = values()
        for start in range(0, count, size):
            part = list(itertools.islice(source, size))
            records = [value if isinstance(value, dict) else {INPUT: value} for value in part]
            yield Chunk(start, part if column is None else [r.get(column) for r in records], records)

    return Source(count, digest, tuple(names), chunks)


def _parquet(path: Path, digest: str, column: str | None) -> Source:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(f"{path}: reading Parquet needs pyarrow; install it, or give CSV or JSON lines") from None
    try:
        with ParquetFile(path) as file:
            count, names = int(file.metadata.num_rows), tuple(file.schema_arrow.names)
            types = dict(zip(names, file.schema_arrow.types, strict=True))
    except ArrowInvalid as error:
        raise UsageError(f"{path}: {error}") from None
    _see_once(path, names)
    only = _choose(path, names, column)

    def chunks(size: int) -> Iterator[Chunk]:
        start = 0
        with ParquetFile(path) as file:
            for batch in _even(file.iter_batches(batch_size=size), size):
                rows = [tuple(record.values()) for record in batch]
                inputs = Table(names, rows) if only is None else [record[only] for record in batch]
                yield Chunk(start, inputs, batch)
                start += len(batch)

    return Source(count, digest, names, chunks, types)


def _even(batches: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    """Records in lists of exactly `size`: row groups may end anywhere."""
    rest: list[dict[str, Any]] = []
    for batch in batches:
        rest += batch.to_pylist()
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest
