"""A signature, reduced to what merging needs to know."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Map
from numpy import dtype

from headrace_worker.scoring import plan
from headrace_worker.scoring.plan import make_plan

MIXED = Schema(
    [ColSpec("double", "d"), ColSpec("long", "l", required=False), ColSpec("string", "s"), ColSpec("datetime", "t")]
)


def test_columns_have_a_letter_each_by_name_and_place() -> None:
    made = make_plan(MIXED, closed=False)
    assert (made.kind, made.by_name) == (plan.COLUMNS, True)
    assert made.named == {"d": "d", "l": "l", "s": "s", "t": "t"}
    assert made.positional == ("d", "l", "s", "t")
    assert made.required == {"d", "s", "t"}


@pytest.mark.parametrize(
    ("spec", "letter"),
    [
        *((ColSpec(name), letter) for name, letter in plan._BY_TYPE_NAME.items()),
        (ColSpec(Array(DataType.double)), plan.NESTED),
        (ColSpec(Map(DataType.double)), plan.NESTED),
        (TensorSpec(dtype("float64"), (-1, 2)), plan.DOUBLE),
        (TensorSpec(dtype("float32"), (-1,)), plan.FLOAT),
        (TensorSpec(dtype("int64"), (-1,)), plan.LONG),
        (TensorSpec(dtype("int32"), (-1,)), plan.INTEGER),
        (TensorSpec(dtype("int8"), (-1,)), None),
        (TensorSpec(dtype("uint8"), (-1,)), None),
        (TensorSpec(dtype("bool"), (-1,)), plan.BOOLEAN),
        (TensorSpec(dtype("str"), (-1,)), plan.STRING),
    ],
    ids=str,
)
def test_each_type_has_its_letter_and_what_is_unknown_none(spec: Any, letter: str | None) -> None:
    made = make_plan(Schema([spec]), closed=False)
    assert (made.positional, made.by_name) == ((letter,), False)
    assert made.kind == (plan.TENSORS if isinstance(spec, TensorSpec) else plan.COLUMNS)


def test_a_fixed_number_of_rows_is_never_merged() -> None:
    assert make_plan(Schema([TensorSpec(dtype("float64"), (2, 3))]), closed=False).kind == plan.CLOSED
    assert make_plan(Schema([TensorSpec(dtype("float64"), ())]), closed=False).kind == plan.CLOSED


def test_without_a_signature_it_is_free_unless_something_else_is_known() -> None:
    assert make_plan(None, closed=False).kind == plan.FREE
    assert make_plan(MIXED, closed=True).kind == plan.CLOSED
    assert make_plan(MIXED, closed=True, takes_elements=True).kind == plan.ELEMENTS


@pytest.mark.parametrize(("kind", "has"), [("double", False), ("float", False), ("long", True), ("string", True)])
def test_hazards_are_where_a_value_can_lose_something(kind: Any, *, has: bool) -> None:
    assert make_plan(Schema([ColSpec(kind, "x")]), closed=False).has_hazards is has
