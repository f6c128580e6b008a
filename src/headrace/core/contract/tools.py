"""Served models as tools of the Model Context Protocol (MCP): their names, and what each takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from headrace.core.contract import dialect, schemas
from headrace.core.contract.about import About

HEADERS = ("mcp-method", "mcp-name", "mcp-protocol-version")
"""The headers of requests that are looked at."""

# Longer names, and others, are refused by what agents' models are asked through.
_MOST_NAME = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_TABLE = "One object for each row; at least one."


def offered(models: Iterable[str], patterns: Sequence[str]) -> dict[str, str]:
    """The tools and the models behind them: every one of `models` that fits one of `patterns`.

    A tool is called as its model is, with ``_`` for what a tool's name may not hold; where that makes two names equal,
    the later ones in the order of the alphabet end in a number.
    """
    names: dict[str, str] = {}
    fitting = sorted(model for model in models if any(fnmatchcase(model, pattern) for pattern in patterns))
    # Those that keep their names come first: another model never takes a name away from one.
    for model in sorted(fitting, key=lambda model: _plain(model) != model):
        name, number = _plain(model), 1
        while name in names:
            number += 1
            name = f"{_plain(model)[: _MOST_NAME - 8]}_{number}"
        names[name] = model
    return dict(sorted(names.items()))


def tool(name: str, model: str, label: str, about: About) -> dict[str, Any]:
    """What ``tools/list`` says of `model`, whose version `label` serves and is described by `about`."""
    return {"name": name, "title": model, "description": _described(model, label, about), "inputSchema": takes(about)}


def takes(about: About) -> dict[str, Any]:
    """The schema of a tool's arguments: the body of a request, in the one form that is easiest to write."""
    if about.speaks:
        return dialect.arguments(about.speaks[0])
    forms = schemas.forms(about)
    name = "dataframe_records" if "dataframe_split" in forms and about.inputs[:1] and _is_named(about) else "inputs"
    schema = forms[name] if name == "inputs" else {**forms[name], "description": _TABLE}
    properties = {name: schema}
    if about.params:
        properties["params"] = schemas.params(about)
    return {"type": "object", "properties": properties, "required": [name]}


def _is_named(about: About) -> bool:
    return bool(about.inputs[0].get("name"))


def _plain(model: str) -> str:
    return _ODD.sub("_", model)[:_MOST_NAME]


def _described(model: str, label: str, about: About) -> str:
    if about.description:
        return about.description
    return f"Asks the model '{model}' ({label}) for predictions."
