"""Models as tools: what they are called, and what they take."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from headrace.core.contract import about, tools
from tests.unit.core.contract.test_schemas import COLUMNS, SIGNATURES


def told(inputs: Any, params: Any = (), **facts: Any) -> about.About:
    signature = {"inputs": json.dumps(inputs), "params": json.dumps(params)}
    return about.decode(about.encode({"signature": signature, **facts}, None, "Does things."))


def test_models_are_offered_by_pattern_and_called_as_agents_can_write() -> None:
    models = ["topic", "my model", "my_model", "my.model", "sent-1", "x" * 80, "hidden"]
    found = tools.offered(models, ["topic", "my*", "sent*", "x*"])
    assert found == {
        "topic": "topic",
        "my_model": "my_model",
        "my_model_2": "my model",
        "my_model_3": "my.model",
        "sent-1": "sent-1",
        "x" * 64: "x" * 80,
    }
    assert tools.offered(models, []) == {}


def test_two_long_names_stay_two() -> None:
    names = tools.offered(["x" * 70, "x" * 80], ["*"])
    assert len(names) == 2
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize("inputs", SIGNATURES)
@pytest.mark.parametrize("type_hint", [False, True])
def test_every_signature_makes_one_object(inputs: Any, *, type_hint: bool) -> None:
    schema = tools.takes(told(inputs, [{"name": "k", "type": "long", "default": 3}], type_hint=type_hint))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object", "what clients ask for"
    assert not schema.keys() & {"anyOf", "oneOf", "allOf"}, "what language models are not given"
    (name,) = schema["required"]
    assert set(schema["properties"]) == {name, "params"}


def test_rows_of_named_columns_are_objects() -> None:
    schema = tools.takes(told(COLUMNS[:1]))
    taken = jsonschema.Draft202012Validator(schema)
    assert taken.is_valid({"dataframe_records": [{"c-boolean": True}]})
    assert not taken.is_valid({"dataframe_records": [{"c-boolean": "x"}]})


@pytest.mark.parametrize(("speaks", "member"), [("chat", "messages"), ("responses", "input"), ("embeddings", "input")])
def test_models_that_speak_the_dialect_are_asked_in_it(speaks: str, member: str) -> None:
    assert tools.takes(told([], speaks=[speaks]))["required"] == [member]


def test_the_description_is_the_registrys() -> None:
    assert tools.tool("a", "a", "a/1", told([]))["description"] == "Does things."
    assert "a/1" in tools.tool("a", "a", "a/1", about.About())["description"]
