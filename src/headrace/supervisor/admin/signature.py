"""What a model takes, as fields of a form: its signature as MLflow writes it, with a value made up for each.

The signature is what a model's process has said: reading it raises nothing, and is bounded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_FIELDS = 200
_DEEPEST = 8
_KINDS = {"string": "text", "boolean": "boolean", "integer": "integer", "long": "integer", "double": "number"}
_KINDS |= {"float": "number", "datetime": "datetime", "binary": "text"}
_MADE_UP = {"string": "a text", "boolean": True, "integer": 1, "long": 1, "double": 0.5, "float": 0.5}
_MADE_UP |= {"datetime": "2026-01-31T12:00:00", "binary": "AAEC"}


@dataclass(frozen=True)
class Field:
    """One input or param. `name` is empty for the only, unnamed one; `example` is made up, or a param's default.

    `kind` is how it is asked for: text, integer, number, boolean, datetime, json. `told` is its type in words.
    """

    name: str
    kind: str
    told: str
    required: bool
    example: Any


@dataclass(frozen=True)
class Fields:
    """`inputs` are of a row, or with `tensors` of a whole request; `digest` differs where they do.

    `more` inputs are left out, for there are too many.
    """

    inputs: tuple[Field, ...] = ()
    params: tuple[Field, ...] = ()
    tensors: bool = False
    more: int = 0
    digest: str = ""

    def made_up(self) -> Any:
        """A request with a value for each input; None where nothing is known of them, or too much."""
        if not self.inputs or self.more:
            return None
        row = {field.name: field.example for field in self.inputs}
        if self.tensors:
            return {"inputs": row.get("", row)}
        return {"instances": [row[""]]} if "" in row else {"dataframe_records": [row]}


def read_fields(signature: Any) -> Fields:
    """The fields of a signature; none where it has none, or is not understood."""
    if not isinstance(signature, Mapping):
        return Fields()
    inputs, params = _parts(signature.get("inputs")), _parts(signature.get("params"))
    digest = hashlib.sha256(json.dumps([inputs, params]).encode()).hexdigest()[:12]
    shown = tuple(_input(spec) for spec in inputs[:MOST_FIELDS])
    return Fields(
        inputs=shown,
        params=tuple(_param(spec) for spec in params[:MOST_FIELDS]),
        tensors=any(spec.get("type") == "tensor" for spec in inputs),
        more=len(inputs) - len(shown),
        digest=digest,
    )


def _parts(text: Any) -> list[dict[str, Any]]:
    try:
        found = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _input(spec: dict[str, Any]) -> Field:
    name = spec.get("name")
    return Field(
        name=name if isinstance(name, str) else "",
        kind=_KINDS.get(str(spec.get("type")), "json"),
        told=_told(spec),
        required=spec.get("required") is not False,
        example=_example(spec),
    )


def _param(spec: dict[str, Any]) -> Field:
    shaped = spec.get("shape") is not None
    kind = "json" if shaped else _KINDS.get(str(spec.get("type")), "json")
    told = f"list of {_told(spec)}" if shaped else _told(spec)
    return Field(str(spec.get("name", "")), kind, told, required=False, example=spec.get("default"))


def _told(spec: Any, depth: int = 0) -> str:
    if not isinstance(spec, dict) or depth > _DEEPEST:
        return "any"
    type_ = str(spec.get("type", "any"))
    if type_ == "tensor":
        tensor = spec.get("tensor-spec")
        tensor = tensor if isinstance(tensor, dict) else {}
        return f"tensor of {tensor.get('dtype', 'any')}, shape {tuple(_shape(tensor))}".replace("-1", "any")
    if type_ == "array":
        return f"list of {_told(spec.get('items'), depth + 1)}"
    if type_ == "map":
        return f"map of {_told(spec.get('values'), depth + 1)}"
    properties = spec.get("properties")
    if type_ == "object" and isinstance(properties, dict):
        return f"object of {', '.join(str(name) for name in [*properties][:6])}{', …' if len(properties) > 6 else ''}"
    return {"binary": "binary, as base64", "datetime": "date and time"}.get(type_, type_)


def _example(spec: Any, depth: int = 0) -> Any:
    if not isinstance(spec, dict) or depth > _DEEPEST:
        return None
    type_ = spec.get("type")
    if type_ == "tensor":
        tensor = spec.get("tensor-spec")
        tensor = tensor if isinstance(tensor, dict) else {}
        value: Any = "a text" if tensor.get("dtype") in {"str", "object"} else 0
        for size in reversed(_shape(tensor)):
            value = [value] * max(1, min(size, 8) if size > 0 else 1)
        return value
    if type_ == "array":
        return [_example(spec.get("items"), depth + 1)]
    if type_ == "map":
        return {"key": _example(spec.get("values"), depth + 1)}
    properties = spec.get("properties")
    if type_ == "object" and isinstance(properties, dict):
        return {str(name): _example(one, depth + 1) for name, one in [*properties.items()][:MOST_FIELDS]}
    return _MADE_UP.get(str(type_))


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    return [size for size in shape[:4] if isinstance(size, int)] if isinstance(shape, list) else []
