"""The JSON Schema of headrace.yaml, in a real validator: it takes what the loader takes, and explains every key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from headrace.config.load import load_file, parse
from headrace.config.reading import compose, value_of
from headrace.config.schema import schema
from headrace.config.showing import shown
from headrace.core.errors import ConfigErrors
from tests.docs.test_examples import PART, blocks
from tests.unit.config import test_load_mistakes

SCHEMA = schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
MODEL: dict[str, Any] = {"uri": "models:/m@production", "port": 5001}

# Wrong by more than a value's own form: only the loader, which sees the whole file, can say so.
COMBINED = ("models.two.dots.port", "models.*.uri", "models.m.uri", "models.topic.traffic")


def well_formed(document: object) -> bool:
    return not list(VALIDATOR.iter_errors(document))


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_command_prints_it() -> None:
    program = Path(sys.executable).with_name("headrace")
    done = subprocess.run([program, "config", "schema"], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == SCHEMA


@pytest.mark.parametrize("text", [*blocks("yaml")])
def test_the_examples_of_the_documentation_fit(text: str) -> None:
    if text.startswith(PART) and not text.startswith(f"{PART}headrace.yaml"):
        return
    assert well_formed({"models": {"m": MODEL}, **value_of(compose(text))})


def cases(test: Any) -> list[Any]:
    """The parameters of one of the loader's own tests."""
    (found,) = (mark for mark in test.pytestmark if mark.name == "parametrize")
    return list(found.args[1])


def forms() -> list[str]:
    """What the loader's own tests have it take."""
    people = [written for written, _, _ in cases(test_load_mistakes.test_what_people_write_is_understood)]
    numbers = cases(test_load_mistakes.test_every_form_of_a_number_is_taken)
    return people + [f"batch: {{tolerance: {number}}}" for number in numbers]


@pytest.mark.parametrize("written", forms())
def test_every_form_that_the_loader_takes_fits(written: str) -> None:
    document = value_of(compose(test_load_mistakes.MODEL % f", {written}"))
    parse(document)
    assert well_formed(document), list(VALIDATOR.iter_errors(document))


@pytest.mark.parametrize("text", test_load_mistakes.VARIABLES)
def test_variables_fit(text: str) -> None:
    assert well_formed(
        value_of(compose(text + test_load_mistakes.MODEL % ", timeout_s: '${T}', pin_header: '${P:-yes}'"))
    )


def mistakes() -> list[Any]:
    found = cases(test_load_mistakes.test_a_mistake_is_told_once_and_with_what_to_write)
    return [pytest.param(text, path, id=path) for text, path, _ in found if path and path not in COMBINED]


@pytest.mark.parametrize(("text", "path"), mistakes())
def test_what_the_loader_refuses_by_its_form_does_not_fit(text: str, path: str) -> None:
    document = value_of(compose(text))
    with pytest.raises(ConfigErrors):
        parse(document)
    assert not well_formed(document), path


def test_every_default_fits_and_is_told(tmp_path: Path) -> None:
    properties = SCHEMA["properties"]
    assert properties["gateway"]["anyOf"][0]["properties"]["drain_s"]["default"] == 30.0
    file = tmp_path / "headrace.yaml"
    file.write_text(test_load_mistakes.MODEL % "", encoding="utf-8")
    whole = json.loads(json.dumps(shown(load_file(file, {}))))
    assert well_formed(whole), list(VALIDATOR.iter_errors(whole))


def test_what_the_documentation_says_of_a_key_is_in_it() -> None:
    batch = SCHEMA["properties"]["models"]["additionalProperties"]["properties"]["batch"]
    assert batch["description"].startswith("how many requests become one predict")
    tolerance = batch["anyOf"][0]["properties"]["tolerance"]["description"]
    assert tolerance.startswith("`tolerance`: how far")
    assert "`auto`: by the rounding" in tolerance, "what follows is about it, too"
    assert "max_delay_ms" not in tolerance


def test_every_key_is_explained() -> None:
    """Whoever adds a key says in its section's docstring what it is for: `key`, in a sentence."""
    todo = [("", SCHEMA)]
    unexplained = []
    while todo:
        path, section = todo.pop()
        for name, value in section["properties"].items():
            if "description" not in value:
                unexplained.append(f"{path}{name}")
            inner = [one for one in value.get("anyOf", [value]) if "properties" in one]
            entries = [value["additionalProperties"]] if isinstance(value.get("additionalProperties"), dict) else []
            todo += [(f"{path}{name}.", one) for one in [*inner, *entries] if "properties" in one]
    assert unexplained == []
