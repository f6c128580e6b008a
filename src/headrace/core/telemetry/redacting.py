"""Takes the values of named fields out of a request's or an answer's JSON."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

REDACTED = "[redacted]"


def redact(value: Any, fields: AbstractSet[str]) -> Any:
    """A copy of `value` in which each value of one of `fields` is replaced, however deep it is.

    A field is a member's name, or a column's in a table of the form ``{"columns": [...], "data": [[...]]}``.
    """
    if isinstance(value, dict):
        made = {k: REDACTED if k in fields else redact(v, fields) for k, v in value.items()}
        columns, rows = value.get("columns"), made.get("data")
        if isinstance(columns, list) and isinstance(rows, list):
            hidden = {i for i, name in enumerate(columns) if isinstance(name, str) and name in fields}
            if hidden:
                made["data"] = [_without(row, hidden) for row in rows]
        return made
    if isinstance(value, list):
        return [redact(item, fields) for item in value]
    return value


def _without(row: Any, hidden: AbstractSet[int]) -> Any:
    if not isinstance(row, list):
        return REDACTED
    return [REDACTED if i in hidden else cell for i, cell in enumerate(row)]
