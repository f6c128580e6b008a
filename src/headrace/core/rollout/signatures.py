"""Whether a new version can take the place of another: what callers send today must still be taken tomorrow.

A signature is what MLflow writes into a model: {"inputs": JSON text, "outputs": ..., "params": ...}, each a list of
{"name"?, "type", "required"?, ...}. Pure; unknown shapes compare as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What JSON callers may go on sending when a column's type becomes wider (PROTOCOL: numbers are cast on the way in).
_WIDER = {"integer": {"long", "float", "double"}, "long": {"double"}, "float": {"double"}, "boolean": set()}


def incompatibilities(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """What would break for clients of `old` with `new`; empty if nothing does.

    A model without a signature promises nothing: from or to none is compatible.
    """
    if not old or not new:
        return []
    found = _inputs(_columns(old.get("inputs")), _columns(new.get("inputs")))
    found += _params(_columns(old.get("params")), _columns(new.get("params")))
    before, after = _columns(old.get("outputs")), _columns(new.get("outputs"))
    if before and after and [_kind(c) for c in before] != [_kind(c) for c in after]:
        found.append(f"the output was {_show(before)} and is {_show(after)}")
    return found


def _inputs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    if not before or not after:
        return []
    if all("name" in c for c in (*before, *after)):
        return _named("input", before, after)
    if len(before) != len(after):
        return [f"there were {len(before)} inputs and are {len(after)}"]
    pairs = zip(before, after, strict=True)
    return [f"input {i} was {_show([b])} and is {_show([a])}" for i, (b, a) in enumerate(pairs) if not _takes(b, a)]


def _named(what: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    known = {c["name"]: c for c in before}
    found = []
    for column in after:
        old = known.get(column["name"])
        if old is None:
            if column.get("required", True) and "default" not in column:
                found.append(f"the {what} {column['name']!r} is new and required")
        elif not _takes(old, column):
            found.append(f"the {what} {column['name']!r} was {_show([old])} and is {_show([column])}")
        elif column.get("required", True) and not old.get("required", True):
            found.append(f"the {what} {column['name']!r} was optional and is required")
    return found


def _params(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    return _named("param", before, after) if all("name" in c for c in (*before, *after)) else []


def _takes(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if _kind(old) == _kind(new):
        return True
    return new.get("type") in _WIDER.get(str(old.get("type")), set())


def _kind(column: Mapping[str, Any]) -> Any:
    ignored = {"name", "required", "default"}
    return {k: v for k, v in column.items() if k not in ignored}


def _columns(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, str):
        try:
            part = json.loads(part)
        except ValueError:
            return []
    return [c for c in part if isinstance(c, dict)] if isinstance(part, list) else []


def _show(columns: list[dict[str, Any]]) -> str:
    return ", ".join(str(c.get("type")) + (f" {c['tensor-spec']}" if "tensor-spec" in c else "") for c in columns)
