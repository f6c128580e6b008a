"""A model's signature as JSON Schema: what its requests to ``/invocations`` look like, and one that fits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.core.contract.about import About

_DEEPEST = 16
_SCALARS: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "description": "A date and time as ISO 8601 has it."},
}
_MADE_UP: dict[str, Any] = {
    "boolean": True, "integer": 1, "long": 1, "float": 0.5, "double": 0.5, "string": "a text", "binary": "AAEC",
    "datetime": "2026-01-31T12:00:00",
}  # fmt: skip
_ROWS: dict[str, Any] = {"type": "array", "minItems": 1}


def request(about: About) -> dict[str, Any]:
    """The schema of a body in JSON."""
    choices = [_form(name, schema) for name, schema in forms(about).items()]
    if not about.params:
        return {"anyOf": choices}
    told = params(about)
    return {"anyOf": [{**one, "properties": {**one["properties"], "params": told}} for one in choices]}


def params(about: About) -> dict[str, Any]:
    """The schema of ``params``: what the model is told beside its inputs."""
    return {
        "type": "object",
        "properties": {str(spec.get("name", "")): _param(spec) for spec in about.params},
        "description": "What the model is told beside its inputs.",
    }


def example(about: About) -> Any:
    """The body of a request that fits: the model's own example, or one made up; None where neither can be had."""
    if about.example is not None:
        return about.example
    specs = about.inputs
    if not specs:
        return None
    if specs[0].get("type") == "tensor":
        values = [_tensor_value(spec) for spec in specs]
        return {"inputs": dict(zip(_names(specs), values, strict=True)) if specs[0].get("name") else values[0]}
    row = [_value(spec) for spec in specs]
    if not specs[0].get("name"):
        return {"inputs": row}
    return {"dataframe_split": {"columns": _names(specs), "data": [row]}}


def column(spec: Any, depth: int = 0) -> dict[str, Any]:
    """The schema of one value of a column, or of what is nested in one."""
    if not isinstance(spec, dict) or depth > _DEEPEST:
        return {}
    kind = spec.get("type")
    if kind == "array":
        return {"type": "array", "items": column(spec.get("items"), depth + 1)}
    if kind == "map":
        return {"type": "object", "additionalProperties": column(spec.get("values"), depth + 1)}
    properties = spec.get("properties")
    if kind == "object" and isinstance(properties, dict):
        found = {str(name): column(one, depth + 1) for name, one in properties.items()}
        return {"type": "object", "properties": found, "required": _required(properties.items())}
    return dict(_SCALARS.get(str(kind), {}))


def forms(about: About) -> dict[str, dict[str, Any]]:
    """The members that a body may have, one of them, and the schema of each; ``inputs`` is always among them."""
    specs = about.inputs
    if about.type_hint:
        return {"inputs": {**_ROWS, "items": column(specs[0]) if len(specs) == 1 else _row(specs)}}
    if not specs:
        anything = {"type": ["array", "object", "string", "number", "boolean"]}
        return {"instances": anything, "inputs": anything, **_tables({}, None)}
    if specs[0].get("type") == "tensor":
        if not specs[0].get("name"):
            return {"inputs": _tensor(specs[0]), "instances": _tensor(specs[0])}
        whole = {"type": "object", "properties": {n: _tensor(s) for n, s in zip(_names(specs), specs, strict=True)}}
        return {"inputs": {**whole, "required": _required(zip(_names(specs), specs, strict=True))}}
    if not specs[0].get("name"):
        values = column(specs[0]) if len(specs) == 1 else {}
        return {"inputs": {**_ROWS, "items": values}, **_tables({}, len(specs))}
    columns = {name: {**_ROWS, "items": column(one)} for name, one in zip(_names(specs), specs, strict=True)}
    inputs = {"type": "object", "properties": columns, "required": _required(zip(_names(specs), specs, strict=True))}
    return {"inputs": inputs, "instances": {**_ROWS, "items": _row(specs)}, **_tables(_row(specs), len(specs))}


def _tables(row: dict[str, Any], width: int | None) -> dict[str, dict[str, Any]]:
    rows = {**_ROWS, "items": {"type": "array"} if width is None else {"type": "array", "minItems": 1}}
    split = {
        "type": "object",
        "properties": {"columns": {"type": "array"}, "index": {"type": "array"}, "data": rows},
        "required": ["data"],
    }
    return {"dataframe_split": split, "dataframe_records": {**_ROWS, "items": row or {"type": "object"}}}


def _form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "title": name, "properties": {name: schema}, "required": [name]}


def _row(specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    named = list(zip(_names(specs), specs, strict=True))
    return {"type": "object", "properties": {n: column(one) for n, one in named}, "required": _required(named)}


def _required(named: Any) -> list[str]:
    return [str(name) for name, one in named if not isinstance(one, dict) or one.get("required") is not False]


def _names(specs: Sequence[dict[str, Any]]) -> list[str]:
    return [str(spec.get("name", i)) for i, spec in enumerate(specs)]


def _param(spec: dict[str, Any]) -> dict[str, Any]:
    schema = column(spec)
    schema = schema if spec.get("shape") is None else {"type": "array", "items": schema}
    return {**schema, "default": spec["default"]} if spec.get("default") is not None else schema


def _tensor_spec(spec: dict[str, Any]) -> tuple[str, list[int]]:
    tensor = spec.get("tensor-spec")
    tensor = tensor if isinstance(tensor, dict) else {}
    shape = tensor.get("shape")
    return str(tensor.get("dtype")), [size for size in shape if isinstance(size, int)] if isinstance(
        shape, list
    ) else []


def _tensor(spec: dict[str, Any]) -> dict[str, Any]:
    dtype, shape = _tensor_spec(spec)
    kinds = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "s": "string"}
    schema: dict[str, Any] = {"type": kinds[dtype[:1]]} if dtype[:1] in kinds else {}
    for size in reversed(shape[:_DEEPEST]):
        bounds = {"minItems": size, "maxItems": size} if size >= 0 else {"minItems": 1}
        schema = {"type": "array", "items": schema, **bounds}
    return schema


def _tensor_value(spec: dict[str, Any]) -> Any:
    dtype, shape = _tensor_spec(spec)
    value: Any = {"b": True, "s": "a text", "o": "a text"}.get(dtype[:1], 0)
    for size in reversed(shape[:_DEEPEST]):
        value = [value] * max(0, min(size, 64) if size >= 0 else 1)
    return value


def _value(spec: Any, depth: int = 0) -> Any:
    if not isinstance(spec, dict) or depth > _DEEPEST:
        return None
    kind, properties = spec.get("type"), spec.get("properties")
    if kind == "array":
        return [_value(spec.get("items"), depth + 1)]
    if kind == "map":
        return {"key": _value(spec.get("values"), depth + 1)}
    if kind == "object" and isinstance(properties, dict):
        return {str(name): _value(one, depth + 1) for name, one in properties.items()}
    return _MADE_UP.get(str(kind), "a text")
