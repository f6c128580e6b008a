"""A request made of a model's signature: one row of harmless values, to see whether the model answers at all. Pure."""

from __future__ import annotations

import json
from typing import Any

_VALUES: dict[str, Any] = {
    "string": "a text",
    "double": 1.0,
    "float": 1.0,
    "long": 1,
    "integer": 1,
    "boolean": True,
    "binary": "AA==",
    "datetime": "2024-01-01T00:00:00",
    "any": "a text",
}


def made_up_example(signature: dict[str, Any]) -> dict[str, Any] | None:
    """Return the body of a request that fits `signature` (as in MLmodel); None if it cannot be made."""
    try:
        inputs = signature["inputs"]
        specs = json.loads(inputs) if isinstance(inputs, str) else inputs
        if not isinstance(specs, list) or not specs:
            return None
        if specs[0]["type"] == "tensor":
            tensors = [_tensor(spec["tensor-spec"]) for spec in specs]
            named = [spec.get("name") for spec in specs]
            whole: Any = dict(zip(named, tensors, strict=True)) if named[0] else tensors[0]
            return {"inputs": whole}
        wanted = [spec for spec in specs if spec.get("required", True)]
        row = [_value(spec) for spec in wanted]
        if len(specs) == 1 and "name" not in specs[0]:
            return {"inputs": row}
        columns = [spec.get("name", i) for i, spec in enumerate(wanted)]
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return {"dataframe_split": {"columns": columns, "data": [row]}}


def _value(spec: dict[str, Any]) -> Any:
    kind = spec["type"]
    if kind == "array":
        return [_value(spec["items"])]
    if kind == "map":
        return {"key": _value(spec["values"])}
    if kind == "object":
        return {name: _value(s) for name, s in spec["properties"].items() if s.get("required", True)}
    return _VALUES[kind]


def _tensor(spec: dict[str, Any]) -> Any:
    value: Any = _element(spec["dtype"])
    for size in reversed(spec["shape"]):
        value = [value] * (1 if size == -1 else int(size))
    return value


def _element(dtype: str) -> Any:
    if dtype.startswith(("float", "int", "uint")):
        return 1
    return True if dtype.startswith("bool") else "a text"
