"""The JSON text of many values at once.

MLflow has pandas make a dict of each row of a DataFrame, which costs more than all else about a large answer. For
columns of numbers, booleans and texts the text is known without them; whatever else a frame holds is left to MLflow.

Of the rest, writing doubles is nearly all: the shortest text that reads back as the same number takes Python's `repr`
0.6 microseconds. Arrow, which comes with every MLflow but the skinny one, has a faster algorithm for the same digits.
It is used where it also places point and exponent as Python does, once it has shown that on numbers known beforehand.
"""

from __future__ import annotations

import functools
import json
from itertools import chain
from typing import Any

MANY = 128
"""Doubles from which on a call of Arrow costs less than it saves."""

_NUMBERS = "biuf"
_MAX_RANK = 32
_LEAST, _MOST = 1e-4, 1e9
"""Arrow writes fractions whose absolute value is from the one to below the other as Python does."""


def scalar_texts(values: list[Any]) -> list[str]:
    """The JSON text of each value of a list of str, int, float, bool and None, in one call of the C encoder.

    The separator is a raw line feed, which JSON text never holds: inside a string it is always escaped.
    """
    return json.dumps(values, separators=("\n", ": "))[1:-1].split("\n") if values else []


def double_texts(array: Any) -> list[str]:
    """The JSON text of each element of a flat array of floats."""
    written = _written(array) if len(array) >= MANY else None
    texts: list[str] = scalar_texts(array.tolist()) if written is None else written.to_pylist()
    return texts


def array_text(value: Any) -> str | None:
    """What MLflow writes for an array, or lists in lists, of floats; None for other values, and for few of them."""
    found = _doubles(value)
    written = None if found is None or len(found[0]) < MANY else _written(found[0])
    if found is None or written is None:
        return None
    shape = found[1]
    for level, width in enumerate(reversed(shape)):
        written = _joined(written, width, "]" * level + ", " + "[" * level)
    return "[" * len(shape) + str(written[0]) + "]" * len(shape)


def object_text(value: dict[Any, Any], other: Any) -> str | None:
    """What MLflow writes for an object of which a value has an `array_text`; `other` writes the rest. Else None."""
    texts = {name: array_text(element) for name, element in value.items()}
    if not any(texts.values()) or set(map(type, value)) != {str}:
        return None
    return f"{{{', '.join([f'{json.dumps(k)}: {texts[k] or other(v)}' for k, v in value.items()])}}}"


def record_texts(frame: Any) -> str | None:
    """What MLflow writes for a DataFrame, a list of objects; None where that is not known here."""
    if type(frame).__module__.split(".")[0] != "pandas" or type(frame).__name__ != "DataFrame":
        return None
    names = list(frame.columns)
    if not names or len(set(names)) != len(names) or set(map(type, names)) != {str}:
        return None
    dtypes = list(frame.dtypes)
    columns: list[list[str]] = []
    if len(set(dtypes)) == 1 and _is_numeric(dtypes[0]):
        texts = _number_texts(frame.to_numpy().ravel())
        columns = [texts[at :: len(names)] for at in range(len(names))]
    else:
        for (_, column), dtype in zip(frame.items(), dtypes):
            if _is_numeric(dtype):
                columns.append(_number_texts(column.to_numpy()))
                continue
            values = column.tolist()
            if not set(map(type, values)) <= {str}:
                return None
            columns.append(scalar_texts(values))
    return _objects([json.dumps(name) for name in names], columns, len(frame))


def _objects(names: list[str], columns: list[list[str]], rows: int) -> str:
    """The text of a list of `rows` objects."""
    if not rows:
        return "[]"
    step = 2 * len(names)
    pieces = [""] * (step * rows)
    for at, (name, texts) in enumerate(zip(names, columns)):
        pieces[2 * at :: step] = [f", {name}: " if at else f"}}, {{{name}: "] * rows
        pieces[2 * at + 1 :: step] = texts
    pieces[0] = f"[{{{names[0]}: "
    return "".join(pieces) + "}]"


def _is_numeric(dtype: Any) -> bool:
    return type(dtype).__module__.split(".")[0] == "numpy" and dtype.kind in _NUMBERS and dtype.itemsize <= 8


def _number_texts(array: Any) -> list[str]:
    return double_texts(array) if array.dtype.kind == "f" else scalar_texts(array.tolist())


def _doubles(value: Any) -> tuple[Any, tuple[int, ...]] | None:
    """(all floats of `value`, one after the other, lengths at each level); None where it holds anything else."""
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        is_known = value.dtype.kind == "f" and value.dtype.itemsize <= 8 and value.ndim > 0
        return (value.ravel(), value.shape) if is_known else None
    first = value
    for _ in range(_MAX_RANK):  # a list that holds itself has no end, and what ends in a float here ends below as well
        if type(first) is list and first:
            first = first[0]
    if type(first) is not float:
        return None
    shape: list[int] = []
    above = 1
    while type(value) is list:
        shape.append(len(value) // above)
        above = len(value)
        types = set(map(type, value))
        if types == {float}:
            import numpy as np

            return np.array(value), tuple(shape)
        if types != {list} or len(set(map(len, value))) != 1:
            return None
        value = list(chain.from_iterable(value))
    return None


def _written(array: Any) -> Any:
    """An Arrow array of the texts of floats; None where Python is as fast, or Arrow does not write as Python does."""
    import numpy as np

    write = _writer()
    doubles = array.astype(np.float64, copy=False)
    size = np.abs(doubles)
    odd = ~((size >= _LEAST) & (size < _MOST) & (size != np.trunc(size)))
    number = int(np.count_nonzero(odd))
    if write is None or 2 * number > len(doubles):  # labels, counts, zeros: Python is fast at these
        return None
    if not number:
        return write(doubles)
    import pyarrow as pa
    from pyarrow import compute

    texts = pa.array(scalar_texts(doubles[odd].tolist()))
    return compute.replace_with_mask(write(doubles), pa.array(odd), texts)


def _joined(texts: Any, width: int, separator: str) -> Any:
    """Each `width` of `texts` in one."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    ends = pa.array(np.arange(0, len(texts) + 1, width, dtype=np.int32))
    return compute.binary_join(pa.ListArray.from_arrays(ends, texts), separator)


@functools.cache
def _writer() -> Any:
    """What writes an array of doubles with Arrow; None where there is none, or not one that writes as Python does."""
    try:
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute
    except ImportError:
        return None

    def write(doubles: Any) -> Any:
        return compute.cast(pa.array(doubles), pa.string())

    try:
        known = np.concatenate([sign * _LEAST * 1.37 ** np.arange(95) for sign in (1, -1)])
        known = np.concatenate([known, np.round(known, 3)[known > 1], np.nextafter([_LEAST, _MOST, 1.0, 0.5], 1.1)])
        known = known[(known != np.trunc(known)) & (np.abs(known) >= _LEAST) & (np.abs(known) < _MOST)]
        wanted = list(map(repr, known.tolist()))
        same = write(known).to_pylist() == wanted and str(_joined(write(known), len(known), ", ")[0]) == ", ".join(
            wanted
        )
    except Exception:  # noqa: BLE001 - an Arrow of another age
        return None
    return write if same else None
