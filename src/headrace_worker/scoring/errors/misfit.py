"""Where a request that MLflow has refused departs from the model's signature; for strict errors only.

`locate` knows single values of plain columns, by the letters of a plan. This looks at everything else: the form of
the four formats, missing and surplus elements, nested types, tensors, dates, binary and params. It reads the
signature's own objects by what all MLflow versions call their parts, and says nothing where it is not sure.

Pure; walks parsed JSON.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker.scoring import shapes
from headrace_worker.scoring.errors.locate import MAX_SHOWN, Finding, show
from headrace_worker.scoring.repairing.moments import without_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}
_SPLIT_KEYS = ("columns", "index", "data")


class _Input(NamedTuple):
    """One input of a signature; `shape` is None for a column and that of the whole for a tensor."""

    name: str | None
    type: Any
    shape: tuple[int, ...] | None
    is_required: bool


def misfit(request: dict[str, Any], schema: Any) -> Finding | None:
    """The first thing about the input of `request` that does not fit `schema` (None: no signature), if it is found."""
    given = [name for name in shapes.FORMATS if name in request]
    if len(given) != 1 or not shapes.LLM_KEYS.isdisjoint(request):
        return None
    name, inputs = given[0], _inputs(schema)
    value = request[name]
    if name == shapes.SPLIT:
        return next(_in_split(value, inputs), None)
    if name == shapes.RECORDS:
        return next(_in_records(value, inputs), None)
    return next(_in_inputs(name, value, inputs), None)


def incomplete(request: dict[str, Any], schema: Any) -> Finding | None:
    """The first row that lacks a required value: MLflow fills it with a null, which a model may not survive."""
    inputs = _inputs(schema)
    value = request.get(shapes.RECORDS)
    if isinstance(value, list):
        return next(
            (found for r, row in enumerate(value) for found in _lacking(f"{shapes.RECORDS}[{r}]", row, inputs)), None
        )
    value = request.get(shapes.SPLIT)
    if isinstance(value, dict) and isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return next(_of_other_width(value["data"], len(value["columns"])), None)
    return None


def odd_param(names: list[str], params: dict[str, Any], schema: Any, path: str) -> Finding | None:
    """What is wrong with the first of the params that MLflow has refused by their `names`; `path` is in front of it."""
    specs = {spec.name: spec for spec in getattr(schema, "params", None) or ()}
    for name in names:
        if name in specs and name in params:
            spec = specs[name]
            listed = getattr(spec, "shape", None) is not None
            kind = _Listed(spec.dtype) if listed else spec.dtype
            return next(_in_value(kind, params[name], f"{path}{name}"), None) or Finding(
                f"{path}{name}", "", f"{show(params[name])} is no {_word(kind)}"
            )
    return None


class _Listed(NamedTuple):
    """A list of `dtype`, in the form of MLflow's own Array."""

    dtype: Any


def _inputs(schema: Any) -> list[_Input]:
    return [
        _Input(
            getattr(spec, "name", None),
            spec.type,
            tuple(spec.shape) if hasattr(spec, "shape") else None,
            bool(getattr(spec, "required", True)),
        )
        for spec in getattr(schema, "inputs", None) or ()
    ]


def _key(name: str) -> str:
    return name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "..."


def _expected(path: str, what: str, value: Any) -> Finding:
    return Finding(path, "", f"expected {what}, got {show(value)}")


def _in_split(value: Any, inputs: list[_Input]) -> Iterator[Finding]:
    path = shapes.SPLIT
    if not isinstance(value, dict):
        yield _expected(path, 'an object with "columns" and "data"', value)
        return
    for key in value:
        if key not in _SPLIT_KEYS:
            yield Finding(f"{path}.{_key(key)}", "", 'only "columns", "index" and "data" are known here')
    rows, columns, index = (value.get(key) for key in ("data", "columns", "index"))
    if "data" not in value:
        yield Finding(path, "", '"data" is missing')
    elif not isinstance(rows, list):
        yield _expected(f"{path}.data", "a list of rows", rows)
    elif "columns" in value and not isinstance(columns, list):
        yield _expected(f"{path}.columns", "a list of names", columns)
    else:
        if isinstance(index, list) and len(index) != len(rows):
            yield Finding(f"{path}.index", "", f"expected {len(rows)} labels, one for each row, got {len(index)}")
        width = len(columns) if isinstance(columns, list) else len(inputs)
        if not inputs or inputs[0].shape is None or isinstance(columns, list):
            yield from _of_other_width(rows, width, at_least=not isinstance(columns, list))
        named = {i.name: i for i in inputs if i.name is not None and i.shape is None}
        for r, row in enumerate(rows):
            for c, element in enumerate(row if isinstance(row, list) else ()):
                wanted = _by_place(c, columns, inputs, named)
                if wanted is not None:
                    yield from _in_value(wanted.type, element, f"{path}.data[{r}][{c}]", is_column=True)


def _by_place(c: int, columns: Any, inputs: list[_Input], named: dict[str, _Input]) -> _Input | None:
    if named:
        name = columns[c] if isinstance(columns, list) and c < len(columns) else None
        return named.get(name) if isinstance(name, str) else None
    return inputs[c] if c < len(inputs) and inputs[c].shape is None else None


def _of_other_width(rows: list[Any], width: int, *, at_least: bool = False) -> Iterator[Finding]:
    for r, row in enumerate(rows):
        path = f"{shapes.SPLIT}.data[{r}]"
        if not isinstance(row, list):
            yield _expected(path, "a list of values", row)
        elif len(row) < width or (len(row) > width and not at_least):
            yield Finding(path, "", f"expected {width} values, one for each column, got {len(row)}")


def _in_records(value: Any, inputs: list[_Input]) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield _expected(shapes.RECORDS, "a list of objects", value)
    else:
        columns = [one for one in inputs if one.shape is None]
        yield from _in_objects(shapes.RECORDS, value, inputs, columns, "column")


def _in_objects(path: str, rows: list[Any], inputs: list[_Input], judged: list[_Input], what: str) -> Iterator[Finding]:
    """Rows that are objects: all `inputs` must be there, and the values of the `judged` ones fit."""
    for r, row in enumerate(rows):
        if not isinstance(row, dict):
            yield _expected(f"{path}[{r}]", f"an object with a value for each {what}", row)
            continue
        yield from _lacking(f"{path}[{r}]", row, inputs)
        for one in judged:
            if one.name in row:
                place = f"{path}[{r}].{one.name}"
                if one.shape is None:
                    yield from _in_value(one.type, row[one.name], place, is_column=True)
                else:
                    yield from _in_tensor(one.shape[1:], one.type, row[one.name], place)


def _lacking(path: str, row: Any, inputs: list[_Input]) -> Iterator[Finding]:
    for one in inputs:
        if isinstance(row, dict) and one.is_required and one.name is not None and one.name not in row:
            yield Finding(path, "", f'the column "{one.name}" is missing')


def _in_inputs(name: str, value: Any, inputs: list[_Input]) -> Iterator[Finding]:
    is_named = bool(inputs) and inputs[0].name is not None
    if isinstance(value, dict):
        if inputs and not is_named:
            yield _expected(name, "a list, for the model's inputs have no names", value)
        elif is_named:
            yield from _in_columns(name, value, inputs)
    elif not isinstance(value, list):
        if inputs:
            yield _expected(name, "a list of objects" if is_named and len(inputs) > 1 else "a list", value)
    elif is_named and (len(inputs) > 1 or any(isinstance(row, dict) for row in value)):
        yield from _in_objects(name, value, inputs, inputs, "input")
    elif len(inputs) == 1:
        (one,) = inputs
        if one.shape is not None:
            yield from _in_tensor(one.shape, one.type, value, name)
        else:
            for r, element in enumerate(value):
                yield from _in_value(one.type, element, f"{name}[{r}]", is_column=True)


def _in_columns(name: str, value: dict[str, Any], inputs: list[_Input]) -> Iterator[Finding]:
    yield from _lacking(name, value, inputs)
    known = [one for one in inputs if one.name in value]
    length: int | None = None
    for one in known:
        path, elements = f"{name}.{one.name}", value[str(one.name)]
        if one.shape is not None:
            yield from _in_tensor(one.shape, one.type, elements, path)
        elif not isinstance(elements, list):
            yield _expected(path, "a list with an element for each row", elements)
        else:
            length = len(elements) if length is None else length
            if len(elements) != length:
                yield Finding(path, "", f"expected {length} elements, as the columns before, got {len(elements)}")
            for r, element in enumerate(elements):
                yield from _in_value(one.type, element, f"{path}[{r}]", is_column=True)


def _in_tensor(shape: tuple[int, ...], kind: Any, value: Any, path: str) -> Iterator[Finding]:
    """`kind` is a NumPy type: its letter says whether numbers are wanted."""
    if not shape:
        if isinstance(value, (list, dict)) or value is None:
            yield _expected(path, "a number" if getattr(kind, "kind", "") in "iufb" else "a single value", value)
        elif isinstance(value, str) and getattr(kind, "kind", "") in "iuf":
            yield _expected(path, "a number", value)
    elif not isinstance(value, list):
        yield _expected(path, "a list" if shape[0] < 0 else f"a list of {shape[0]}", value)
    elif shape[0] >= 0 and len(value) != shape[0]:
        yield Finding(path, "", f"expected {shape[0]} elements, got {len(value)}")
    else:
        for i, element in enumerate(value):
            yield from _in_tensor(shape[1:], kind, element, f"{path}[{i}]")


def _in_value(kind: Any, value: Any, path: str, *, is_column: bool = False) -> Iterator[Finding]:
    """`is_column`: a scalar of a plain column, which `locate` has judged, is only looked at for being one."""
    name = getattr(kind, "name", None)
    if isinstance(name, str):
        if isinstance(value, (list, dict)):
            yield _expected(path, name, value)
        elif name in _SCALARS and not is_column:
            is_flag = isinstance(value, bool) and name != "boolean"
            if is_flag or not isinstance(value, _SCALARS[name]):
                yield _expected(path, name, value)
        elif name == "binary" and not _is_base64(value):
            yield _expected(path, "binary data as base64", value)
        elif name == "datetime" and not _is_date(value):
            yield _expected(path, "a date and time", value)
    elif hasattr(kind, "properties"):
        yield from _in_object(kind, value, path)
    elif hasattr(kind, "value_type"):
        if not isinstance(value, dict):
            yield _expected(path, _word(kind), value)
        for key, element in value.items() if isinstance(value, dict) else ():
            yield from _in_value(kind.value_type, element, f"{path}.{_key(key)}")
    elif hasattr(kind, "dtype"):
        if not isinstance(value, list):
            yield _expected(path, _word(kind), value)
        for i, element in enumerate(value if isinstance(value, list) else ()):
            yield from _in_value(kind.dtype, element, f"{path}[{i}]")


def _in_object(kind: Any, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _expected(path, "an object", value)
        return
    properties = {one.name: one for one in kind.properties}
    for name, one in properties.items():
        if name not in value and getattr(one, "required", True):
            yield Finding(path, "", f'the property "{name}" is missing')
    for key, element in value.items():
        if key not in properties:
            yield Finding(f"{path}.{_key(key)}", "", "the signature has no such property")
        elif element is not None or getattr(properties[key], "required", True):
            yield from _in_value(properties[key].dtype, element, f"{path}.{key}")


def _word(kind: Any) -> str:
    name = getattr(kind, "name", None)
    if isinstance(name, str):
        return name
    if hasattr(kind, "properties") or hasattr(kind, "value_type"):
        return "object"
    return f"list of {_word(kind.dtype)}" if hasattr(kind, "dtype") else "value of the signature's type"


def _is_base64(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        base64.b64decode(value)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_date(value: Any) -> bool:
    """Whether this is a date for certain, in a form that everyone knows; what is only unusual is no date here."""
    if not isinstance(value, str):
        return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    if without_zone(value) is not None:
        return True
    try:
        return dt.datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False
