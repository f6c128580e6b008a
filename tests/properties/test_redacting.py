"""What is redacted is nowhere in what is left, and everything else is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.telemetry.redacting import REDACTED, redact

NAMES = st.sampled_from(["name", "email", "text", "columns", "data"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "y"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


def members(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [*value.items(), *(pair for inner in value.values() for pair in members(inner))]
    return [pair for inner in value for pair in members(inner)] if isinstance(value, list) else []


@given(VALUES, st.frozensets(NAMES, max_size=3))
def test_every_named_member_is_replaced_and_the_rest_keeps_its_shape(value: Any, fields: frozenset[str]) -> None:
    before = json.dumps(value)
    made = redact(value, fields)
    assert json.dumps(value) == before
    assert all(inner == REDACTED for name, inner in members(made) if name in fields)
    assert redact(made, fields) == made
    assert redact(value, frozenset()) == value


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True), st.frozensets(st.sampled_from("abcd")))
def test_a_column_of_a_table_is_replaced_in_every_row(columns: list[str], fields: frozenset[str]) -> None:
    rows = [[f"{column}{i}" for column in columns] for i in range(3)]
    made = redact({"dataframe_split": {"columns": columns, "data": rows}}, fields)["dataframe_split"]["data"]
    for row, was in zip(made, rows, strict=True):
        assert row == [REDACTED if c in fields else v for c, v in zip(columns, was, strict=True)]
