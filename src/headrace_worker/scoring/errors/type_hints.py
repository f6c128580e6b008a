"""The type hint that a model was made with: what does not fit it, and what is refused although it does.

MLflow says what does not fit in a text that repeats the whole input. Its hints are those of pydantic, which knows the
place. What is meant without a doubt and refused all the same, it takes in the form that `repaired` gives it.
"""

from __future__ import annotations

import datetime as dt
import typing
from typing import Any

from headrace_worker.scoring import shapes
from headrace_worker.scoring.errors.locate import Finding
from headrace_worker.scoring.repairing.repair import Repaired, repair_params


def read_hint(model: Any) -> Any:
    """The type hint of the input of the loaded `model`, None where it cannot be read."""
    try:
        from mlflow.pyfunc.utils.data_validation import _get_func_info_if_type_hint_supported

        made = model.unwrap_python_model()
        info: Any = _get_func_info_if_type_hint_supported(getattr(made, "func", made.predict))
    except Exception:  # noqa: BLE001 - an MLflow of another age
        return None
    return getattr(info, "input_type_hint", None)


def takes_list(model: Any) -> bool:
    """Whether the hint of `model` is a list: then MLflow looks at each element by itself."""
    hint = read_hint(model)
    return typing.get_origin(hint) is list and bool(typing.get_args(hint))


def refuses(hint: Any, data: Any) -> bool:
    """Whether MLflow's check of `data` against `hint`, which comes before the model runs, refuses it."""
    try:
        from mlflow.types.type_hints import _validate_data_against_type_hint
    except ImportError:
        return False
    try:
        _validate_data_against_type_hint(data, hint)
    except Exception:  # noqa: BLE001 - a date that cannot be read is a ValueError there
        return True
    return False


def repaired(request: Any, hint: Any, params: Any) -> Repaired | None:
    """`request` with its rows below ``inputs``, a list around a single one, and doubles where the hint has them.

    It changes the parsed JSON that it is given. None where there is nothing to change, or no doubtless way to.
    """
    given = [name for name in shapes.FORMATS if name in request] if type(request) is dict else []
    if len(given) != 1 or not shapes.LLM_KEYS.isdisjoint(request):
        return None
    (name,) = given
    element = _element(hint)
    value, path = request[name], name
    if name == shapes.RECORDS:
        value = _rows_of_records(value, element)
    elif name == shapes.SPLIT:
        value, path = _rows_of_table(value, element), f"{name}.data"
    is_changed = repair_params(request, params) or name != shapes.INPUTS
    if value is None:
        return None
    own = shapes.INPUTS
    if element is not None and not isinstance(value, list):
        value, is_changed, own = [value], True, f"{shapes.INPUTS}[0]"
    fixed, widened = _widen(hint, value)
    if not is_changed and not widened:
        return None
    rest = {key: kept for key, kept in request.items() if key != name}
    return Repaired({**rest, shapes.INPUTS: fixed}, {}, own, path)


def _element(hint: Any) -> Any:
    """The hint of a row, None where the model does not take a list of rows."""
    hint = _without_none(hint)
    arguments = typing.get_args(hint)
    return arguments[0] if typing.get_origin(hint) is list and arguments else None


def _without_none(hint: Any) -> Any:
    """The hint that is meant where it is an Optional; MLflow takes any other Union for anything at all."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in _UNIONS and len(arguments) == 2 and type(None) in arguments:
        return next(one for one in arguments if one is not type(None))
    return hint


_UNIONS = {typing.Union, type(typing.Union[int, None]), getattr(__import__("types"), "UnionType", typing.Union)}


def _takes_objects(element: Any) -> bool | None:
    """Whether a row is an object; None where it may be anything."""
    element = _without_none(element)
    if element is Any or element is None or typing.get_origin(element) in _UNIONS:
        return None
    return element is dict or typing.get_origin(element) is dict or hasattr(element, "__fields__")


def _rows_of_records(value: Any, element: Any) -> Any:
    """Rows of `dataframe_records`: as they are, or the values of their one column; None where neither is certain."""
    objects = _takes_objects(element)
    rows = [value] if isinstance(value, dict) else value
    if objects is None or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    if objects:
        return rows
    names = set(rows[0]) if rows else set()
    if len(names) != 1 or any(row.keys() != names for row in rows):
        return None
    return [one for row in rows for one in row.values()]


def _rows_of_table(value: Any, element: Any) -> Any:
    objects = _takes_objects(element)
    if objects is None or not isinstance(value, dict) or not value.keys() <= {"columns", "index", "data"}:
        return None
    rows, columns = value.get("data"), value.get("columns")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    if objects:
        if not isinstance(columns, list) or any(type(name) is not str for name in columns):
            return None
        if len(set(columns)) != len(columns) or any(len(row) != len(columns) for row in rows):
            return None
        return [dict(zip(columns, row)) for row in rows]
    if any(len(row) != 1 for row in rows) or (columns is not None and (type(columns) is not list or len(columns) != 1)):
        return None
    return [row[0] for row in rows]


def _widen(hint: Any, value: Any) -> tuple[Any, bool]:
    """(`value` with doubles where `hint` has float, whether that changed anything); lists and dicts in place."""
    hint = _without_none(hint)
    if hint is float and type(value) is int:
        try:
            return float(value), True
        except OverflowError:
            return value, False
    if hint is dt.datetime and type(value) is str:
        return _with_numeric_zone(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    is_changed = False
    if origin is list and type(value) is list and arguments:
        for i, element in enumerate(value):
            value[i], changed = _widen(arguments[0], element)
            is_changed = is_changed or changed
    elif origin is dict and type(value) is dict and len(arguments) == 2:
        for key, element in value.items():
            value[key], changed = _widen(arguments[1], element)
            is_changed = is_changed or changed
    return value, is_changed


def _with_numeric_zone(text: str) -> tuple[str, bool]:
    """Python before 3.11 reads +00:00 and no Z."""
    if text[-1:] in ("Z", "z"):
        try:
            dt.datetime.fromisoformat(text)
        except ValueError:
            return f"{text[:-1]}+00:00", True
    return text, False


def misfit(model: Any, data: Any) -> Finding | None:
    """The first element of `data`, which came below ``inputs``, that does not fit; None where that is not found out."""
    try:
        import pydantic

        hint = read_hint(model)
        if hint is None:
            return None
        adapter: Any = pydantic.TypeAdapter(hint)
        try:
            adapter.validate_python(data)
        except pydantic.ValidationError as error:
            first: Any = error.errors(include_url=False, include_input=False)[0]
            steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            return Finding("inputs" + "".join(steps), "", str(first["msg"]))
    except Exception:  # noqa: BLE001 - an MLflow or a pydantic of another age: then there is no path
        return None
    return None
