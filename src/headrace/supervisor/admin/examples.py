"""A request that a model can answer: its own example, or one made up after its signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace.supervisor.served_model import ServedModel

_MADE_UP = {"string": "a text", "boolean": True, "double": 0.5, "float": 0.5, "datetime": "2026-01-31T12:00:00"}


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


def made_up(model: ServedModel) -> Any:
    """A request with the columns of the signature; None where it names none that a value can be made up for."""
    facts = model.current.workers.facts if model.current and model.current.workers else {}
    try:
        columns = json.loads((facts.get("signature") or {}).get("inputs") or "[]")
        row = {c["name"]: _MADE_UP.get(c["type"], 1) for c in columns if c["type"] not in {"tensor", "binary"}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"dataframe_records": [row]} if row else None
