"""What requests a signature's schema takes and refuses, and that the example is one of those it takes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from headrace.core.contract import about, schemas

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
COLUMNS = [{"name": f"c-{kind}", "type": kind, "required": kind != "long"} for kind in SCALARS]
NESTED = [
    {"name": "a", "type": "array", "items": {"type": "double"}},
    {"name": "m", "type": "map", "values": {"type": "string"}},
    {"name": "o", "type": "object", "properties": {"x": {"type": "long"}, "y": {"type": "long", "required": False}}},
    {"name": "any", "type": "any"},
]
TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}
SIGNATURES: list[Any] = [
    [], COLUMNS, NESTED, [TENSOR], [{**TENSOR, "name": "x"}, {**TENSOR, "name": "y"}], [{"type": "string"}],
    [{"type": "double"}, {"type": "long"}], [{"type": "tensor"}], [{"type": 1, "name": "x"}],
]  # fmt: skip


def told(inputs: Any, params: Any = (), **facts: Any) -> about.About:
    signature = {"inputs": json.dumps(inputs), "params": json.dumps(params)}
    return about.decode(about.encode({"signature": signature, **facts}, None))


def takes(schema: dict[str, Any], body: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(body))


@pytest.mark.parametrize("inputs", SIGNATURES)
@pytest.mark.parametrize("type_hint", [False, True])
def test_every_signature_has_a_schema_and_an_example_that_fits(inputs: Any, *, type_hint: bool) -> None:
    known = told(inputs, type_hint=type_hint)
    schema = schemas.request(known)
    jsonschema.Draft202012Validator.check_schema(schema)
    example = schemas.example(known)
    if example is not None and not type_hint:
        assert takes(schema, example), example


def test_the_models_own_example_is_told_before_one_that_is_made_up() -> None:
    known = about.decode(about.encode({"signature": {"inputs": json.dumps(COLUMNS)}}, b'{"inputs": {"c": [1]}}'))
    assert schemas.example(known) == {"inputs": {"c": [1]}}
    assert schemas.example(told([])) is None


@pytest.mark.parametrize(
    ("inputs", "body", "taken"),
    [
        (COLUMNS[3:4], {"inputs": {"c-float": [1.5]}}, True),
        (COLUMNS[3:4], {"inputs": {"c-float": ["x"]}}, False),
        (COLUMNS[3:4], {"inputs": {}}, False),
        (COLUMNS[3:4], {"dataframe_records": [{"c-float": 1}]}, True),
        (COLUMNS[3:4], {"dataframe_split": {"columns": ["c-float"], "data": [[1]]}}, True),
        (COLUMNS[3:4], {"other": 1}, False),
        ([TENSOR], {"inputs": [[1, 2], [3, 4]]}, True),
        ([TENSOR], {"inputs": [[1, 2, 3]]}, False),
        ([TENSOR], {"inputs": ["a"]}, False),
        ([{"type": "string"}], {"inputs": ["a"]}, True),
    ],
)
def test_what_does_not_fit_the_signature_is_not_in_the_schema(inputs: Any, body: Any, *, taken: bool) -> None:
    assert takes(schemas.request(told(inputs)), body) == taken


def test_params_have_their_types_and_defaults() -> None:
    params = [{"name": "k", "type": "long", "default": 3, "shape": None}]
    params.append({"name": "stop", "type": "string", "default": None, "shape": [-1]})
    schema = schemas.request(told(COLUMNS[3:4], params))
    body = {"inputs": {"c-float": [1]}}
    assert takes(schema, {**body, "params": {"k": 1, "stop": ["a"]}})
    assert not takes(schema, {**body, "params": {"k": "x"}})
    assert schema["anyOf"][0]["properties"]["params"]["properties"]["k"]["default"] == 3
