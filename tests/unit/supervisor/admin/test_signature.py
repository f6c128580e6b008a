"""A model's signature as fields of a form, whatever its process says that it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.supervisor.admin.signature import MOST_FIELDS, Field, read_fields


def signature(*inputs: dict[str, Any], params: Any = None) -> dict[str, Any]:
    return {"inputs": json.dumps(inputs), "outputs": None, "params": None if params is None else json.dumps(params)}


def test_columns_with_their_types_and_params_with_their_defaults() -> None:
    fields = read_fields(
        signature(
            {"name": "text", "type": "string", "required": True},
            {"name": "age", "type": "long", "required": False},
            {"name": "tags", "type": "array", "items": {"type": "string"}},
            {"name": "who", "type": "object", "properties": {"name": {"type": "string"}, "tall": {"type": "boolean"}}},
            {"name": "raw", "type": "binary"},
            params=[
                {"name": "t", "type": "double", "default": 0.2, "shape": None},
                {"name": "stop", "type": "string", "default": ["."], "shape": [-1]},
            ],
        )
    )
    assert fields.inputs == (
        Field("text", "text", "string", required=True, example="a text"),
        Field("age", "integer", "long", required=False, example=1),
        Field("tags", "json", "list of string", required=True, example=["a text"]),
        Field("who", "json", "object of name, tall", required=True, example={"name": "a text", "tall": True}),
        Field("raw", "text", "binary, as base64", required=True, example="AAEC"),
    )
    assert fields.params == (
        Field("t", "number", "double", required=False, example=0.2),
        Field("stop", "json", "list of string", required=False, example=["."]),
    )
    assert fields.made_up()["dataframe_records"][0]["tags"] == ["a text"]


def test_tensors_are_of_the_whole_request() -> None:
    image = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2, 2]}}
    alone = read_fields(signature(image))
    assert alone.tensors
    assert alone.inputs[0].told == "tensor of float64, shape (any, 2, 2)"
    assert alone.made_up() == {"inputs": [[[0, 0], [0, 0]]]}
    named = read_fields(signature({**image, "name": "left"}, {**image, "name": "right"}))
    assert set(named.made_up()["inputs"]) == {"left", "right"}


def test_one_column_without_a_name() -> None:
    assert read_fields(signature({"type": "string", "required": True})).made_up() == {"instances": ["a text"]}


def test_a_version_that_takes_the_same_has_the_same_digest() -> None:
    one, same = signature({"name": "a", "type": "long"}), signature({"name": "a", "type": "long"})
    assert read_fields(one).digest == read_fields(same).digest != read_fields(signature({"name": "b"})).digest


@pytest.mark.parametrize(
    "told", [None, "x", 3, {}, {"inputs": "["}, {"inputs": "3"}, {"inputs": "[1, null]"}, {"inputs": "[" * 9999}]
)
def test_no_signature_has_no_fields(told: Any) -> None:
    assert read_fields(told).inputs == ()
    assert read_fields(told).made_up() is None


def test_hundreds_of_columns_are_not_made_fields() -> None:
    wide = read_fields(signature(*({"name": f"c{n}", "type": "double"} for n in range(MOST_FIELDS + 5))))
    assert (len(wide.inputs), wide.more, wide.made_up()) == (MOST_FIELDS, 5, None)
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(50):
        deep = {"type": "array", "items": deep}
    assert read_fields(signature({"name": "deep", **deep})).inputs[0].told.endswith("any")
    huge = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 10**9, 10**9]}}
    assert len(json.dumps(read_fields(signature(huge)).made_up())) < 1000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "items", "properties", "tensor-spec", "shape", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=4), st.lists(values, max_size=3))
def test_nothing_that_a_process_may_say_raises(inputs: list[Any], params: list[Any]) -> None:
    fields = read_fields({"inputs": json.dumps(inputs), "params": json.dumps(params)})
    json.dumps(fields.made_up())
