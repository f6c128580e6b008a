"""The command to paste for a model: with its own example, else with one that is made up after its signature."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headrace.cli.screen import _example
from headrace.supervisor.served_model import ServedModel

COLUMNS = {"inputs": json.dumps([{"name": "age", "type": "long", "required": True}]), "outputs": None, "params": None}


def model(signature: Any, stored: Path | None = None) -> ServedModel:
    found = SimpleNamespace(path=str(stored)) if stored is not None else None
    return cast("ServedModel", SimpleNamespace(current=SimpleNamespace(stored=found, signature=signature)))


def test_a_model_without_an_example_is_asked_after_its_signature() -> None:
    (form,) = json.loads(_example(model(COLUMNS))).values()
    assert "age" in json.dumps(form)


@pytest.mark.parametrize(("size", "is_own"), [(1, True), (500, False)])
def test_its_own_example_goes_first_unless_it_is_too_long_to_paste(tmp_path: Path, size: int, is_own: bool) -> None:  # noqa: FBT001 - a parameter of the cases
    own = {"inputs": [{"age": 7} for _ in range(size)]}
    (tmp_path / "serving_input_example.json").write_text(json.dumps(own))
    assert (json.loads(_example(model(COLUMNS, tmp_path))) == own) == is_own


def test_a_model_of_which_nothing_is_known_is_asked_with_no_rows() -> None:
    assert json.loads(_example(model(None))) == {"inputs": []}
