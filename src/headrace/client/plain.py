"""From what Python programs hold to what JSON can say: dates, bytes, NumPy and pandas values.

Neither NumPy nor pandas is imported here: who hands in such a value has imported them.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import json
import sys
import uuid
from typing import Any

from headrace.client.errors import BadRequest


def dumps(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON with NaN and Infinity as literals, as MLflow reads it; raises BadRequest."""
    try:
        text = json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be escaped
            return json.dumps(value, default=plain, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the input cannot be written as JSON: {error}") from error


def plain(value: Any) -> Any:
    """Return the JSON form of one value that `json` does not know; raises BadRequest for what has none."""
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return moment(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return array(value)
        if isinstance(value, numpy.generic):
            return scalar(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is pandas.NA:
            return None
        if isinstance(value, (pandas.Series, pandas.Index)):
            return column(value)
    if hasattr(value, "__array__") and numpy is not None:
        return array(numpy.asarray(value))
    raise BadRequest(f"a value of type {type(value).__name__} cannot be sent: JSON has no form for it")


def moment(value: dt.datetime | dt.date | dt.time) -> str | None:
    """ISO 8601, date and time always with microseconds; NaT is None.

    MLflow reads a column of dates by the format of its first one, so all have the same. It refuses time zones, so they
    are turned into UTC and left out.
    """
    if value != value:  # noqa: PLR0124 - pandas' NaT
        return None
    if not isinstance(value, dt.datetime):
        return value.isoformat()
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return value.isoformat(timespec="microseconds")


def scalar(value: Any) -> Any:
    """A NumPy scalar."""
    kind = value.dtype.kind
    if kind == "f":
        return float(value)
    if kind in "iub":
        return value.item()
    if kind in "US":
        return plain(bytes(value)) if kind == "S" else str(value)
    return array(value.reshape(1))[0]


def array(value: Any) -> Any:
    """A NumPy array as nested lists; raises BadRequest for complex numbers, durations and structures."""
    if isinstance(value, sys.modules["numpy"].ma.MaskedArray):
        if value.dtype.kind not in "iubfUO":
            raise BadRequest(f"a masked array of {value.dtype} cannot be sent; fill it first")
        return value.tolist()  # what is masked becomes None
    kind = value.dtype.kind
    if kind in "iubUO":
        return value.tolist()
    if kind == "f":
        return (value if value.dtype.itemsize <= 8 else value.astype("float64")).tolist()
    if kind == "M":
        numpy = sys.modules["numpy"]
        texts = numpy.datetime_as_string(value).astype(object)
        texts[numpy.isnat(value)] = None
        return texts.tolist()
    if kind == "S":
        return value.astype(object).tolist()
    raise BadRequest(f"an array of {value.dtype} cannot be sent: JSON has no form for its elements")


def column(series: Any) -> list[Any]:
    """A pandas Series or Index as a list: missing texts, and those of nullable types, become None, NaN stays NaN."""
    dtype = series.dtype
    if getattr(dtype, "tz", None) is not None:
        stripped = series.tz_convert(None) if hasattr(series, "tz_convert") and not hasattr(series, "dt") else None
        return column(series.dt.tz_convert("UTC").dt.tz_localize(None) if stripped is None else stripped)
    if hasattr(dtype, "kind") and dtype.kind in "iubfMm" and hasattr(dtype, "itemsize") and hasattr(dtype, "char"):
        listed: list[Any] = array(series.to_numpy())
        return listed
    if getattr(dtype, "kind", "") == "m":
        raise BadRequest("a column of durations cannot be sent: JSON has no form for them")
    values = list(series.tolist())
    if any(isinstance(value, str) for value in values):
        # Among texts NaN is what pandas calls missing; NumPy would make the text 'nan' of it.
        return [None if isinstance(value, float) and value != value else value for value in values]  # noqa: PLR0124 - NaN
    return values
