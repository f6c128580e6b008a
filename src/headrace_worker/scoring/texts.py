"""The JSON text of many values at once.

MLflow has pandas make a dict of each row of a DataFrame, which costs more than all else about a large answer. For
columns of numbers, booleans and texts the text is known without them; whatever else a frame holds is left to MLflow.
"""

from __future__ import annotations

import json
from typing import Any

_NUMBERS = "biuf"


def scalar_texts(values: list[Any]) -> list[str]:
    """The JSON text of each value of a list of str, int, float, bool and None, in one call of the C encoder.

    The separator is a raw line feed, which JSON text never holds: inside a string it is always escaped.
    """
    return json.dumps(values, separators=("\n", ": "))[1:-1].split("\n") if values else []


def record_texts(frame: Any) -> str | None:
    """What MLflow writes for a DataFrame, a list of objects; None where that is not known here."""
    if type(frame).__module__.split(".")[0] != "pandas" or type(frame).__name__ != "DataFrame":
        return None
    names = list(frame.columns)
    if not names or len(set(names)) != len(names) or set(map(type, names)) != {str}:
        return None
    dtypes = list(frame.dtypes)
    rows: Any
    if len(set(dtypes)) == 1 and _is_numeric(dtypes[0]):
        texts = scalar_texts(frame.to_numpy().ravel().tolist())
        rows = [tuple(texts[at : at + len(names)]) for at in range(0, len(texts), len(names))]
    else:
        columns = []
        for (_, column), dtype in zip(frame.items(), dtypes):
            values = column.tolist()
            if not (_is_numeric(dtype) or set(map(type, values)) <= {str}):
                return None
            columns.append(scalar_texts(values))
        rows = zip(*columns)
    row = ", ".join(["%s: %%s" % json.dumps(name).replace("%", "%%") for name in names])  # noqa: UP031 - makes a format
    return "[" + ", ".join(map(("{" + row + "}").__mod__, rows)) + "]"


def _is_numeric(dtype: Any) -> bool:
    return type(dtype).__module__.split(".")[0] == "numpy" and dtype.kind in _NUMBERS and dtype.itemsize <= 8
