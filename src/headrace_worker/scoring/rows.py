"""Taking a model's answer apart by rows.

A merged answer is only of use if each part is what the request alone would have got. Two things can spoil that:
the number of rows, which is checked, and the type of the whole, which NumPy and pandas widen to what the widest row
needs: ``[1, None]`` becomes ``[1.0, nan]``, so a neighbour's missing value would turn a ``1`` into ``1.0``. A part
whose values would also fit a narrower type is therefore *doubtful*, until a request alone has shown that the model
answers such values with the wide type anyway (see evidence.py).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Column(NamedTuple):
    """One column of an answer (`name` None for a list or an array): its type and its values as sent."""

    name: Any
    kind: tuple[Any, str]
    values: list[Any]


class Table(NamedTuple):
    """An answer of `rows` rows: `columns` are its values by column.

    `items` are JSON-able as sent, one for each row; or an object of arrays, each with an element for each row.
    """

    rows: int
    items: list[Any] | dict[Any, Any]
    columns: list[Column]

    def part(self, at: int, end: int) -> Any:
        """The answer to the rows from `at` to before `end`."""
        if at == 0 and end == self.rows:
            return self.items
        if isinstance(self.items, dict):
            return {name: values[at:end] for name, values in self.items.items()}
        return self.items[at:end]


def count(raw: Any) -> int | None:
    """How many rows an answer has, None if it is nothing that has rows (a dict, a text, a scalar)."""
    if type(raw) is list:
        return len(raw)
    try:
        has_rows = getattr(raw, "ndim", None) and (hasattr(raw, "tolist") or hasattr(raw, "to_dict"))
        return len(raw) if has_rows else None
    except Exception:  # noqa: BLE001 - a model may return anything that calls itself an array
        return None


def parts(raw: Any) -> int | None:
    """Into how many answers `raw` can be taken apart: its rows, or those that all arrays of an object have."""
    if type(raw) is not dict:
        return count(raw)
    if not raw or any(type(name) is not str for name in raw):
        return None
    lengths = {len(value) if _is_array(value) else None for value in raw.values()}
    return lengths.pop() if len(lengths) == 1 else None


def _is_array(value: Any) -> bool:
    kind = type(value)
    return kind is list or (kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.ndim > 0)


def table(raw: Any, jsonable: Any) -> Table | None:
    """Take `raw` apart, None if it has no rows. `jsonable` is MLflow's `_get_jsonable_obj`."""
    number = parts(raw)
    if number is None:
        return None
    if type(raw) is list:
        return Table(number, raw, [Column(None, (None, _leaf_type(raw)), raw)])
    if type(raw) is dict:
        columns = [_named(name, values) for name, values in raw.items()]
        items = {c.name: c.values if c.kind[1] in _AS_SENT else values for c, values in zip(columns, raw.values())}
        return Table(number, items, columns)
    if not hasattr(raw, "to_dict"):
        if not hasattr(raw, "dtype") or type(raw).__module__.split(".")[0] != "numpy":
            return None
        items = jsonable(raw, pandas_orient="records")
        column = Column(None, (None, _dtype_word(raw.dtype)), items)
        return Table(number, items, [column]) if type(items) is list else None
    frame = raw if hasattr(raw, "columns") else raw.to_frame()
    items = jsonable(raw, pandas_orient="records")
    columns = [
        Column(i, (name, str(dtype)), frame.iloc[:, i].tolist())
        for i, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes))
    ]
    return Table(number, items, columns)


def _named(name: str, values: Any) -> Column:
    if type(values) is list:
        return Column(name, (name, _leaf_type(values)), values)
    return Column(name, (name, _dtype_word(values.dtype)), values.tolist())


def _dtype_word(dtype: Any) -> str:
    """A NumPy type without the width of its texts, which differs from call to call and is not sent."""
    return str(dtype.kind) if dtype.kind in "biufUSO" else str(dtype)


def doubt(values: list[Any], kind: tuple[Any, str]) -> Any:
    """Why `values` might have had a narrower type, and so another text, if they had been alone; None if they cannot.

    The reason is hashable and stands for all values that raise the same doubt: a single value itself, or the manner
    of several.
    """
    word = kind[1]
    if word in _NEVER:
        return None
    if word == "mixed":
        # Several types in one list were not widened to one, but a missing value may be pandas' own for a null.
        return "missing" if all(map(_is_nan, _leaves(values))) else None
    if word in _OBJECTS:
        # Elements keep their own types here; it is their mixture that pandas resolves one way or another.
        types = set(map(type, _leaves(values)))
        return None if len(types) <= 1 and types <= _PRIMITIVES else "mixture"
    leaves = list(_leaves(values))
    first = leaves[0] if leaves else None
    if isinstance(first, float):
        manner = "whole" if all(map(_is_whole, leaves)) else "missing" if all(map(_is_nan, leaves)) else None
    elif isinstance(first, str):
        manner = "words" if all(map(_reads_as_other, leaves)) else None
    elif type(first) is int and word in _WHOLE:
        manner = "flags" if all(leaf in (0, 1) for leaf in leaves) else None
    else:
        return "other"
    return (manner, first) if manner is not None and manner != "missing" and len(leaves) == 1 else manner


def doubtful_values(values: list[Any], kind: tuple[Any, str]) -> dict[Any, list[int]]:
    """`doubt` for a list of scalars each of which is a part: the positions of the doubtful ones by reason."""
    word = kind[1]
    if word in _NEVER:
        return {}
    if word in _FLOATS and set(map(type, values)) == {float}:
        at: Any = [i for i, v in enumerate(values) if v.is_integer() or v != v]  # noqa: PLR0124 - NaN
    elif word in _WHOLE:
        at = [i for i, v in enumerate(values) if v in (0, 1)]
    elif set(map(type, values)) == {str}:
        # Labels repeat: each text is looked at once.
        doubts = {text for text in set(values) if doubt([text], kind) is not None}
        at = [i for i, v in enumerate(values) if v in doubts] if doubts else []
    else:
        at = range(len(values))
    found: dict[Any, list[int]] = {}
    for i in at:
        reason = doubt([values[i]], kind)
        if reason is not None:
            found.setdefault(reason, []).append(i)
    return found


_AS_SENT = frozenset("biuf")
"""Types of arrays whose elements are sent as Python's numbers."""
_NEVER = frozenset(("dict", "bool", "b"))
_OBJECTS = frozenset(("O", "object"))
_WHOLE = frozenset(("i", "u", "int", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"))
_FLOATS = frozenset(("f", "float", "float64", "float32", "float16"))
_PRIMITIVES = frozenset((str, int, float, bool))
_OTHER_WORDS = frozenset(("true", "false", "none", "nan", "nat", "<na>", ""))
_FIRST = "0123456789+-.(tfniTFNI<"
"""How a number, a boolean or a missing value begins once NumPy has made a text of it; the empty text, too."""


def _leaf_type(values: list[Any]) -> str:
    """One word for what a Python list holds; a list of several types was not made by widening."""
    types = {type(v) for v in _leaves(values)}
    return types.pop().__name__ if len(types) == 1 else "mixed"


def _leaves(values: Any) -> Any:
    for value in values:
        if type(value) is list:
            yield from _leaves(value)
        else:
            yield value


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _reads_as_other(text: Any) -> bool:
    if not isinstance(text, str):
        return True
    if text[:1] not in _FIRST:
        return False
    if text.lower() in _OTHER_WORDS:
        return True
    try:
        complex(text)
    except ValueError:
        return False
    return True
