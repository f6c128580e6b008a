"""From a model's answer to JSON, in MLflow's form.

The reference is `predictions_to_json` of the scoring server. It writes through a Python-level encoder; the same
encoder run in one piece uses C and gives the same text (property-tested). Where the reference fails with a bare
500, `encode` goes on: it sends what has an obvious JSON form and names the type that has none.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import types
from typing import Any

from headrace_worker.scoring.texts import array_text, object_text, record_texts

MAX_GENERATED = 1_000_000
"""A generator that a model returns is drained up to here; beyond it the answer is an error."""


class Unsendable(Exception):
    """The model's answer has no JSON form; the message says which type, and where."""


class Encoder:
    """Writes answers with the environment's own NumpyEncoder."""

    def __init__(self) -> None:
        from mlflow.utils import proto_json_utils

        self._numpy_encoder: Any = proto_json_utils.NumpyEncoder
        self.jsonable: Any = proto_json_utils._get_jsonable_obj  # noqa: SLF001 - what predictions_to_json calls
        self._one_piece = self._numpy_encoder().encode

    def encode(self, raw: Any, *, wrapped: bool = True) -> bytes:
        """The body of a 200: `raw`, below ``predictions`` if `wrapped`. Raises Unsendable."""
        try:
            text = self._known_text(raw)
            if text is not None:
                return (f'{{"predictions": {text}}}' if wrapped else text).encode("utf-8", "surrogatepass")
            value = self.jsonable(raw, pandas_orient="records")
            return self._text({"predictions": value} if wrapped else value)
        except Exception:  # noqa: BLE001 - whatever a model's objects raise while they are looked at
            return self._encode_anyway(raw, wrapped=wrapped)

    def _known_text(self, raw: Any) -> str | None:
        if type(raw) is dict:
            return object_text(raw, self._one_piece)
        return array_text(raw) or record_texts(raw)

    def _text(self, value: Any) -> bytes:
        return self._one_piece(value).encode("utf-8", "surrogatepass")

    def _encode_anyway(self, raw: Any, *, wrapped: bool) -> bytes:
        try:
            value = _plain(self.jsonable(_column_like(raw), pandas_orient="records"), "predictions", 0)
            return self._text({"predictions": value} if wrapped else value)
        except Unsendable:
            raise
        except Exception as error:
            raise Unsendable(
                f"the model's answer ({type(raw).__name__}) has no JSON form: {type(error).__name__}: {error}"
            ) from error


def _column_like(raw: Any) -> Any:
    """A pandas Index or extension array has `tolist` as an array does, but MLflow does not know it."""
    module = type(raw).__module__.split(".")[0]
    return raw.tolist() if module == "pandas" and not hasattr(raw, "to_dict") and hasattr(raw, "tolist") else raw


def _plain(value: Any, path: str, depth: int) -> Any:
    """The JSON form of `value`; raises Unsendable with the path of what has none."""
    if depth > 200:
        raise Unsendable(f"{path[:100]}...: the model's answer is nested too deeply (or holds itself)")
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {_key(k): _plain(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        value = _in_some_order(value)
    if isinstance(value, types.GeneratorType):
        value = list(itertools.islice(value, MAX_GENERATED + 1))
        if len(value) > MAX_GENERATED:
            raise Unsendable(f"{path}: the model's generator gave more than {MAX_GENERATED} items")
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, enum.Enum):
        return _plain(value.value, path, depth + 1)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name), f"{path}.{f.name}", depth + 1) for f in dataclasses.fields(value)
        }
    return _plain_array_like(value, path, depth)


def _plain_array_like(value: Any, path: str, depth: int) -> Any:
    import numpy as np
    import pandas as pd

    if value is pd.NA:
        return None
    if isinstance(value, (np.timedelta64, dt.timedelta)):
        return "NaT" if pd.isna(value) else pd.Timedelta(value).isoformat()
    if isinstance(value, np.ndarray) and value.dtype.kind in "mO":
        return [_plain(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, (pd.DataFrame, pd.Series)):
        rows = value.to_dict(orient="records") if isinstance(value, pd.DataFrame) else value.tolist()
        return _plain(rows, path, depth + 1)
    try:
        from mlflow.utils.proto_json_utils import NumpyEncoder

        encoder: Any = NumpyEncoder()
        converted = encoder.default(value)
    except TypeError:
        pass
    else:
        if type(converted) is not type(value):
            return _plain(converted, path, depth + 1)
    if isinstance(value, pd.Index) or hasattr(type(value), "_from_sequence"):
        return _plain(value.tolist(), path, depth + 1)
    raise Unsendable(f"{path}: a value of type {type(value).__name__} has no JSON form")


def _key(key: Any) -> Any:
    if key is None or isinstance(key, (str, int, float)):
        return key
    item = key.item() if hasattr(key, "item") else key
    return item if isinstance(item, (str, int, float)) else str(item)


def _in_some_order(values: Any) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)
