"""How large a table or an array becomes of what a request says, before MLflow makes it; pure.

pandas fills in what rows leave out, and NumPy gives each text the room of the longest one. So a small body may stand
for a large table: a thousand records, each with a column of its own, are a million cells. A request is refused where
what would be made is out of all proportion to what was sent.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring import shapes
from headrace_worker.scoring.errors.refusal import Refusal

if TYPE_CHECKING:
    from headrace_worker.scoring.shapes import Share

SMALL = 4096
"""Bytes of a JSON body that cannot go beyond any of the bounds."""

MAX_COLUMNS = 20_000
"""Columns of a table, where the signature has no more than half as many: each costs MLflow up to half a millisecond."""

MAX_CELLS = 1 << 20
"""Cells that a table may always have, however few of them are given."""

CELLS_FOR_EACH = 16
"""Cells of a larger table for each value that is given."""

MAX_ARRAY_BYTES = 512 * 1024 * 1024
"""What the arrays of an input may take: one of texts takes four bytes for each character of the longest, each time."""


class Bounds:
    """The bounds for one model. `schema` is its input schema, None where it has none or its inputs are no tables."""

    def __init__(self, schema: Any) -> None:
        inputs = list(getattr(schema, "inputs", None) or ())
        self.max_columns = max(MAX_COLUMNS, 2 * len(inputs))
        self._makes_tables = bool(inputs) and not schema.is_tensor_spec()

    def check(self, request: dict[str, Any], share: Share | None) -> None:
        """Raise Refusal (400) for a JSON request beyond the bounds; `share` is what it may share, if it was found."""
        given = [name for name in shapes.FORMATS if name in request]
        if len(given) != 1 or not shapes.LLM_KEYS.isdisjoint(request):
            return
        name = given[0]
        value = request[name]
        if share is not None:
            self.check_columns(name, len(share.kind.letters) if share.kind.form in _TABLES else 1)
        elif name == shapes.SPLIT and isinstance(value, dict):
            self._check_split(value)
        elif isinstance(value, list) and (name == shapes.RECORDS or self._makes_tables):
            if name == shapes.RECORDS or any(isinstance(row, dict) for row in value):
                rows, values, columns = _rows(value)
                self.check_columns(name, columns)
                check_cells(name, rows, columns, values)
        elif isinstance(value, dict):
            self.check_columns(name, len(value))
            if self._makes_tables:
                lengths = [len(column) for column in value.values() if isinstance(column, list)]
                check_cells(name, max(lengths, default=1), len(value), sum(lengths) + len(value))
        if name in (shapes.INPUTS, shapes.INSTANCES) and (share is None or _has_texts(share.kind.letters)):
            _check_texts(name, value)

    def _check_split(self, value: dict[str, Any]) -> None:
        index, names, data = value.get("index"), value.get("columns"), value.get("data")
        labels = (len(index) if isinstance(index, list) else 0) + (len(names) if isinstance(names, list) else 0)
        if isinstance(data, dict):
            lengths = [len(column) for column in data.values() if isinstance(column, (list, dict))]
            rows, values, columns = max(lengths, default=1), sum(lengths), len(data)
        else:
            rows, values, columns = _rows(data if isinstance(data, list) else [data])
        columns = max(columns, len(names) if isinstance(names, list) else 0)
        self.check_columns(shapes.SPLIT, columns)
        check_cells(shapes.SPLIT, max(rows, len(index) if isinstance(index, list) else 0), columns, values + labels)

    def check_columns(self, path: str, columns: int) -> None:
        """Raise Refusal for a table that is too wide."""
        if columns > self.max_columns:
            raise Refusal(
                400,
                "BAD_REQUEST",
                f"The table has {columns} columns; at most {self.max_columns} are taken. Leave out what the model does "
                'not need, or send lists of numbers below "inputs".',
                path,
            )


_TABLES = frozenset((shapes.TABLE, shapes.INDEXED, shapes.OBJECTS, shapes.COLUMNWISE))


def most_cells(values: int) -> int:
    """How many cells a table may have of which `values` are given."""
    return max(MAX_CELLS, CELLS_FOR_EACH * values)


def check_cells(path: str, rows: int, columns: int, values: int) -> None:
    """Raise Refusal for a table of which the request gives only a few cells."""
    if rows * columns > most_cells(values):
        raise Refusal(
            400,
            "BAD_REQUEST",
            f"A table of {rows} rows and {columns} columns would be nearly empty: the request has {values} values, "
            f"which allow {most_cells(values)} cells. Send rows that have the same columns together.",
            path,
        )


def _rows(rows: list[Any]) -> tuple[int, int, int]:
    """(rows, values in them, columns) of a list of lists, objects or scalars."""
    common = shapes.common_names(rows)
    if common is not None:
        return len(rows), len(rows) * len(common), len(common)
    names: set[str] = set()
    values = widest = 0
    for row in rows:
        if isinstance(row, dict):
            names.update(row)
            values += len(row)
        else:
            width = len(row) if isinstance(row, list) else 1
            values += width
            widest = max(widest, width)
    return len(rows), values, len(names) + widest


def _has_texts(letters: tuple[Any, ...]) -> bool:
    return any(letter == "s" or (isinstance(letter, tuple) and letter[0] == "s") for letter in letters)


def _check_texts(path: str, value: Any) -> None:
    columns: list[Any] = [value]
    if isinstance(value, dict):
        columns = list(value.values())
    elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        by_name: dict[str, list[Any]] = {}
        for name, element in chain.from_iterable(row.items() for row in value):
            by_name.setdefault(name, []).append(element)
        columns = list(by_name.values())
    for column in columns:
        count, longest = _texts(column)
        if 4 * count * longest > MAX_ARRAY_BYTES:
            raise Refusal(
                400,
                "BAD_REQUEST",
                f"An array of {count} texts, the longest of {longest} characters, would take {4 * count * longest} "
                f"bytes, for each gets the room of the longest; at most {MAX_ARRAY_BYTES} are taken. Send fewer texts "
                "at a time, and the long ones by themselves.",
                path,
            )


def _texts(value: Any) -> tuple[int, int]:
    """(scalars in nested lists, characters of the longest text among them)."""
    count = longest = 0
    waiting = [value] if isinstance(value, list) else []
    while waiting:
        elements = waiting.pop()
        types = set(map(type, elements))
        if list in types:
            waiting.extend(element for element in elements if type(element) is list)
        count += len(elements)
        if str in types:
            longest = max(chain([longest], (len(element) for element in elements if type(element) is str)))
    return count, longest
