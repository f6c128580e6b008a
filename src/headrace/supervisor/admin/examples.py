"""A request that a model can answer: its own example, or one made up after its signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace.supervisor.admin.signature import Fields, read_fields
from headrace.supervisor.served_model import ServedModel


def own_example(model: ServedModel) -> Any:
    """The example that the serving version was logged with, short where it is a table of one column; None without.

    Reads a file.
    """
    stored = model.current.stored if model.current else None
    try:
        example = json.loads(Path(stored.path if stored else "", "serving_input_example.json").read_bytes())
        table = example.get("dataframe_split", {})
        if len(table.get("columns", ())) == 1 and table.get("data"):
            return {"instances": table["data"][0]}
    except (OSError, ValueError, AttributeError, TypeError, IndexError):
        return None
    return example


def fields_of(model: ServedModel) -> Fields:
    """What the serving version takes; no fields where nothing serves."""
    return read_fields(model.current.signature if model.current else None)


def made_up(model: ServedModel) -> Any:
    """A request with the columns of the signature; None where it names none that a value can be made up for."""
    return fields_of(model).made_up()
