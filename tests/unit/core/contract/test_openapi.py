"""The document is whole: every reference leads somewhere, every schema is one, every example fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from headrace.core.contract import about, openapi
from tests.unit.core.contract.test_schemas import COLUMNS, SIGNATURES


def document(inputs: Any, **facts: Any) -> dict[str, Any]:
    signature = {"inputs": json.dumps(inputs), "outputs": json.dumps([{"type": "double"}])}
    known = about.decode(about.encode({"signature": signature, **facts}, None))
    return openapi.document("a b", "reg/7", "/models/a%20b", known)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else ())
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@pytest.mark.parametrize("inputs", SIGNATURES)
def test_references_schemas_and_examples_hold(inputs: Any) -> None:
    made = document(inputs, streams=True, speaks=["chat", "responses", "embeddings", "completions", "klingon"])
    for reference in set(references(made)):
        found: Any = made
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [one for methods in made["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert "200" in one["responses"]
        content = one.get("requestBody", {"content": {}})["content"].get("application/json", {})
        if "example" in content:
            whole = {**content["schema"], "components": made["components"]}
            jsonschema.Draft202012Validator(whole).validate(content["example"])


def test_paths_name_the_model_and_stand_below_the_base() -> None:
    made = document(COLUMNS)
    assert made["servers"] == [{"url": "/models/a%20b"}]
    assert made["info"] == {
        "title": "a b", "version": "reg/7", "description": "What the model takes is what its signature says.",
    }  # fmt: skip
    assert {"/invocations", "/v2/models/a%20b/infer", "/v1/models/a%20b:predict"} <= made["paths"].keys()
    assert not any(path.startswith("/v1/chat") for path in made["paths"])
    assert "/v1/chat/completions" in document(COLUMNS, speaks=["chat"])["paths"]
    infer = made["paths"]["/v2/models/a%20b/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert [one["datatype"] for one in infer["example"]["inputs"]][:3] == ["BOOL", "INT32", "INT64"]
    assert "too large" in document([{"name": "x" * about.MOST_BYTES, "type": "double"}])["info"]["description"]
    assert "without a signature" in document([])["info"]["description"]
