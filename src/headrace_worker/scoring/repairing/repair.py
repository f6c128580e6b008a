"""A request that MLflow has refused, in the form in which MLflow takes the same values; None where there is none.

Only for what is meant without a doubt and refused by an accident of the conversion (docs: coming-from-mlflow): dates
with a zone, integers among nested doubles, nulls in optional columns of integers, one row without its brackets, numbers
as texts in params. Only called on a refusal: no answer that MLflow gives is another, and nobody else pays for it.

It changes the parsed JSON that it is given, and looks at each element once. Whether what comes out fits, MLflow says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker.scoring import shapes
from headrace_worker.scoring.repairing.moments import all_without_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

NULLABLE = {"integer": "Int32", "long": "Int64", "boolean": "boolean"}
"""The pandas type of an optional column with a null in it, by the signature's type."""

MAX_FILLED = 16
"""Values left out of records are filled in up to this many for each that is there: it bounds the work by the input."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_REAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_NUMBER = 400
"""Characters of a number in a text; a longer one is no number that anybody means."""


class Repaired(NamedTuple):
    """`request` is what MLflow is to be asked; `nulls` are the rows of each column whose value stands for a null.

    `path` is how the paths of `request` begin and `said` what stands for it in the request that was sent.
    """

    request: dict[str, Any]
    nulls: dict[str, list[int]]
    path: str = ""
    said: str = ""

    def told(self, path: str) -> str:
        """The path in the request that was sent of a path in this one."""
        if self.path and path.startswith(self.path):
            return self.said + path[len(self.path) :]
        return path


def repaired(request: Any, schema: Any, params: Any, *, as_json: bool = False) -> Repaired | None:
    """`request` repaired by an input schema and a params schema (None: the model has none of the kind).

    `as_json`: only with values that JSON has, for whoever tells of it.
    """
    if type(request) is not dict:
        return None
    is_changed = repair_params(request, params)
    given = [name for name in shapes.FORMATS if name in request]
    if len(given) != 1 or not shapes.LLM_KEYS.isdisjoint(request):
        return Repaired(request, {}) if is_changed else None
    name = given[0]
    path = said = ""
    if _is_one_row(name, request[name], schema):
        request[name] = _as_rows(name, request[name])
        path, said = (f"{name}.data[0]", f"{name}.data") if name == shapes.SPLIT else (f"{name}[0]", name)
        is_changed = True
    walk = _Walk(schema, _TOLD if as_json else _LEAVES)
    walk.request(name, request[name])
    if not is_changed and not walk.is_changed:
        return None
    return Repaired(request, walk.nulls, path, said)


def repair_params(request: dict[str, Any], schema: Any) -> bool:
    """Numbers as texts become numbers where a param is one; those of the LLM form lie at the top of the body."""
    params = request.get("params") if shapes.LLM_KEYS.isdisjoint(request) else request
    is_changed = False
    for spec in getattr(schema, "params", None) or ():
        if not isinstance(params, dict) or spec.name not in params:
            continue
        kind, value = getattr(spec.dtype, "name", ""), params[spec.name]
        if isinstance(value, list) and getattr(spec, "shape", None) is not None:
            for i, element in enumerate(value):
                number = _number(kind, element)
                if number is not None:
                    value[i], is_changed = number, True
        elif (number := _number(kind, value)) is not None:
            params[spec.name], is_changed = number, True
    return is_changed


def _number(kind: str, text: Any) -> float | int | None:
    """The number that `text` writes as JSON would, None if it is no text or no such number."""
    if not isinstance(text, str) or len(text) > _MAX_NUMBER:
        return None
    if kind in ("integer", "long"):
        number = int(text) if _INTEGER.fullmatch(text) else None
        bound = 2**31 if kind == "integer" else 2**63
        return number if number is not None and -bound <= number < bound else None
    return float(text) if kind in ("float", "double") and _REAL.fullmatch(text) else None


def _inputs(schema: Any) -> list[Any]:
    return list(getattr(schema, "inputs", None) or ())


def _is_one_row(name: str, value: Any, schema: Any) -> bool:
    """Whether this is a single row without the list around it, for certain."""
    inputs = _inputs(schema)
    if name == shapes.SPLIT:
        rows, columns = (value.get("data"), value.get("columns")) if isinstance(value, dict) else (None, None)
        width = len(columns) if isinstance(columns, list) else len(inputs)
        if not isinstance(rows, list) or width <= 1 or len(rows) != width:
            return False
        return not any(isinstance(element, (list, dict)) for element in rows)
    if isinstance(value, dict):
        if inputs and name != shapes.RECORDS and getattr(inputs[0], "name", None) is None:
            return False
        # Lists below names are columns, unless the signature says that the values themselves are lists.
        nested = {spec.name: spec.type for spec in inputs if getattr(spec, "name", None) and _is_nested(spec)}
        if not value or any(isinstance(v, (list, dict)) and key not in nested for key, v in value.items()):
            return False
        return not any(isinstance(v, list) and not hasattr(nested[key], "dtype") for key, v in value.items())
    if name == shapes.RECORDS or len(inputs) != 1:
        return False
    shape = getattr(inputs[0], "shape", None)
    if shape is not None:
        return value is not None and bool(shape) and shape[0] == -1 and _depth(value, len(shape)) == len(shape) - 1
    return isinstance(value, (str, int, float))


def _is_nested(spec: Any) -> bool:
    return not hasattr(spec, "shape") and getattr(spec.type, "name", None) is None


def _depth(value: Any, bound: int) -> int:
    depth = 0
    while isinstance(value, list) and value and depth <= bound:
        value, depth = value[0], depth + 1
    return depth


def _as_rows(name: str, value: Any) -> Any:
    return {**value, "data": [value["data"]]} if name == shapes.SPLIT else [value]


class _Walk:
    """Once through the input of one request."""

    def __init__(self, schema: Any, leaves: dict[str, Callable[[Any], Any]]) -> None:
        self._leaves = leaves
        self.is_changed = False
        self.nulls: dict[str, list[int]] = {}
        inputs = [] if schema is None or schema.is_tensor_spec() else _inputs(schema)
        self._named = {spec.name: spec for spec in inputs if getattr(spec, "name", None) is not None}
        self._positional = inputs
        self._properties: dict[int, dict[str, Any]] = {}

    def request(self, name: str, value: Any) -> None:
        """Repair what lies below the format key `name`, in place."""
        if not self._positional:
            return
        if name == shapes.SPLIT:
            if isinstance(value, dict) and isinstance(value.get("data"), list):
                self._table(value["data"], value.get("columns"))
        elif isinstance(value, dict):
            for key, elements in value.items():
                if key in self._named:
                    value[key] = self._column(self._named[key], elements)
        elif isinstance(value, list) and any(isinstance(row, dict) for row in value) and self._named:
            self._records(value)
        elif isinstance(value, list) and len(self._positional) == 1:
            self._column(self._positional[0], value)

    def _table(self, rows: list[Any], columns: Any) -> None:
        if self._named:
            names = columns if isinstance(columns, list) else []
            specs = [(c, self._named[n]) for c, n in enumerate(names) if isinstance(n, str) and n in self._named]
        else:
            specs = list(enumerate(self._positional))
        # Rows that are too short end the walk: a cell for each column is the bound of the work.
        if not all(isinstance(row, list) and len(row) > max((c for c, _ in specs), default=-1) for row in rows):
            return
        for c, spec in specs:
            for r, fixed in self._fixes(spec, [row[c] for row in rows] if _is_repairable(spec) else ()):
                rows[r][c] = fixed

    def _records(self, rows: list[Any]) -> None:
        specs = {name: spec for name, spec in self._named.items() if _is_repairable(spec)}
        if not specs:
            return
        places, given = _places(rows, specs)
        for name, at in places.items():
            for i, fixed in self._fixes(specs[name], [rows[r][name] for r in at], at):
                rows[at[i]][name] = fixed
        lacking = [name for name in places if null_of(specs[name]) is not None and len(places[name]) < len(rows)]
        if len(rows) * len(lacking) > MAX_FILLED * given:
            return
        for name in lacking:  # what one record leaves out and another has is a null, as pandas takes it
            at = [r for r, row in enumerate(rows) if isinstance(row, dict) and name not in row]
            for i, fixed in self._fixes(specs[name], [None] * len(at), at):
                rows[at[i]][name] = fixed

    def _column(self, spec: Any, elements: Any) -> Any:
        """One column below `inputs` or `instances`, or the value of one row."""
        if _is_nested(spec):
            return self._value(spec.type, elements)
        if not isinstance(elements, list):
            return next((fixed for _, fixed in self._fixes(spec, [elements])), elements)
        for r, fixed in self._fixes(spec, elements):
            elements[r] = fixed
        return elements

    def _fixes(self, spec: Any, values: Sequence[Any], rows: Sequence[int] | None = None) -> Iterator[tuple[int, Any]]:
        """The repaired ones of some `values` of a column, each with its place; `rows` says where those lie."""
        null = null_of(spec)
        if _is_nested(spec):
            for place, value in enumerate(values):
                yield place, self._value(spec.type, value)
        elif getattr(spec.type, "name", None) == "datetime":
            moments = all_without_zone(values)
            for place, value in enumerate(values if any(moments.values()) else ()):
                text = moments.get(value) if type(value) is str else None
                if text is not None:
                    self.is_changed = True
                    yield place, text
        elif null is not None and None in values:
            self.is_changed = True
            places = [place for place, value in enumerate(values) if value is None]
            self.nulls.setdefault(spec.name, []).extend(places if rows is None else [rows[place] for place in places])
            for place in places:
                yield place, null

    def _value(self, kind: Any, value: Any) -> Any:
        """A value of a nested type. Lists beyond those of the type are rows, however many levels of them there are."""
        if isinstance(value, list):
            inner = kind.dtype if _is_list(kind) else kind
            for i, element in enumerate(value):
                value[i] = self._value(inner, element)
        elif isinstance(value, dict):
            members = self._members(kind)
            for key, element in value.items():
                inner = members.get(key) if members is not None else kind.value_type
                if inner is not None:
                    value[key] = self._value(inner, element)
        else:
            return self._leaf(getattr(kind, "name", None), value)
        return value

    def _members(self, kind: Any) -> dict[str, Any] | None:
        """The types of an object's properties, made once a request; None: a map, all of whose values have one type."""
        if hasattr(kind, "value_type"):
            return None
        known = self._properties.get(id(kind))
        if known is None:
            known = {one.name: one.dtype for one in getattr(kind, "properties", ())}
            self._properties[id(kind)] = known
        return known

    def _leaf(self, name: Any, value: Any) -> Any:
        """A scalar in a nested type, as the very type of the signature: MLflow widens and parses nothing there."""
        made = self._leaves[name](value) if name in self._leaves else None
        if made is None:
            return value
        self.is_changed = True
        return made


def _places(rows: list[Any], names: Collection[str]) -> tuple[dict[str, Sequence[int]], int]:
    """(by name, in which of the objects among `rows` it is, how many values these have)."""
    common = shapes.common_names(rows)
    if common is not None:
        return {name: range(len(rows)) for name in common if name in names}, len(rows) * len(common)
    objects = [row for row in rows if isinstance(row, dict)]
    found: dict[str, Any] = {}
    for r, row in enumerate(rows):
        for name in row if isinstance(row, dict) else ():
            if name in names:
                found.setdefault(name, []).append(r)
    return dict(sorted(found.items())), sum(map(len, objects))


def _is_repairable(spec: Any) -> bool:
    """Whether there are values that are repaired in this column."""
    return _is_nested(spec) or getattr(spec.type, "name", None) == "datetime" or null_of(spec) is not None


def null_of(spec: Any) -> Any:
    """What stands for a null in an optional column of integers or booleans, None in any other column."""
    kind = getattr(spec.type, "name", None)
    if kind not in NULLABLE or getattr(spec, "required", True) or getattr(spec, "name", None) is None:
        return None
    return False if kind == "boolean" else 0


def _is_list(kind: Any) -> bool:
    return hasattr(kind, "dtype") and not hasattr(kind, "properties")


def _double(value: Any) -> Any:
    return _widened(value) if type(value) is int else None


def _single(value: Any) -> Any:
    import numpy as np

    wide = _widened(value) if type(value) in (int, float) else None
    if wide is None or abs(wide) > np.finfo(np.float32).max:
        return None
    return np.float32(wide)


def _integer(value: Any) -> Any:
    import numpy as np

    return np.int32(value) if type(value) is int and -(2**31) <= value < 2**31 else None


def _widened(value: Any) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "double": _double,
    "float": _single,
    "integer": _integer,
}
_TOLD: dict[str, Callable[[Any], Any]] = {"double": _double}
