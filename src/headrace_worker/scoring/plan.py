"""What a model's signature says about each input, reduced to what merging needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FREE = "free"
COLUMNS = "columns"
TENSORS = "tensors"
ELEMENTS = "elements"
CLOSED = "closed"

DOUBLE, FLOAT, INTEGER, LONG, BOOLEAN, STRING = "d", "f", "i", "l", "b", "s"

DATE, BINARY, NESTED = "t", "y", "n"
"""Columns that MLflow converts value by value in a DataFrame, and in no other format."""

_BY_TYPE_NAME = {
    "double": DOUBLE,
    "float": FLOAT,
    "integer": INTEGER,
    "long": LONG,
    "boolean": BOOLEAN,
    "string": STRING,
    "datetime": DATE,
    "binary": BINARY,
}


@dataclass(frozen=True)
class Plan:
    """`kind` FREE: no signature; COLUMNS and TENSORS: by name or by position; CLOSED: never merged.

    ELEMENTS: the model is made with a type hint, and takes the elements of a list as they are.

    `named` and `positional` hold a letter for each input, None for one whose values are never merged, for their type
    is unknown here.
    """

    kind: str
    named: dict[str, str | None] = field(default_factory=dict)
    positional: tuple[str | None, ...] = ()
    required: frozenset[str] = frozenset()

    @property
    def has_hazards(self) -> bool:
        """Whether MLflow may take a value for such an input although it loses something (locate.py)."""
        return self.kind in {COLUMNS, TENSORS} and not {INTEGER, LONG, BOOLEAN, STRING}.isdisjoint(self.positional)

    @property
    def by_name(self) -> bool:
        """Whether the signature names its inputs."""
        return bool(self.named)


def make_plan(schema: Any, *, closed: bool, takes_elements: bool = False) -> Plan:
    """Reduce an MLflow input schema; `closed` where it says nothing about rows, which may be elements of a list."""
    if takes_elements:
        return Plan(ELEMENTS)
    if closed:
        return Plan(CLOSED)
    if schema is None:
        return Plan(FREE)
    tensors = bool(schema.is_tensor_spec())
    if tensors and any(not spec.shape or spec.shape[0] != -1 for spec in schema.inputs):
        return Plan(CLOSED)  # the model takes a fixed number of rows
    letters = tuple(_tensor_letter(spec) if tensors else column_letter(spec) for spec in schema.inputs)
    kind = TENSORS if tensors else COLUMNS
    if not schema.has_input_names():
        return Plan(kind, {}, letters)
    required = getattr(schema, "required_input_names", schema.input_names)
    return Plan(kind, dict(zip(schema.input_names(), letters)), letters, frozenset(required()))


def column_letter(spec: Any) -> str | None:
    """What a column of a signature holds; None: it is not known here."""
    if type(spec.type).__name__ in ("Array", "Object", "Map"):
        return NESTED
    return _BY_TYPE_NAME.get(getattr(spec.type, "name", ""))


def _tensor_letter(spec: Any) -> str | None:
    if spec.type.kind == "f" and spec.type.itemsize == 8:
        return DOUBLE
    if spec.type.kind == "f":
        return FLOAT
    if spec.type.kind == "i" and spec.type.itemsize in (4, 8):
        return LONG if spec.type.itemsize == 8 else INTEGER
    return {"b": BOOLEAN, "U": STRING}.get(spec.type.kind)
