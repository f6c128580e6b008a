"""Writes docs/settings.md from the configuration's tree: every key, what it may be, and its default.

python tools/settings_page.py [--check]
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import tree

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

Every key of `headrace.yaml`. Written by `make settings` from `src/headrace/config/tree.py`; a test compares the two.
An unknown key, a wrong type or an impossible combination is refused with its path. Durations end in `_s` (seconds) or
`_ms` (milliseconds), sizes in `_bytes`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    sections: list[tuple[str, type[msgspec.Struct]]] = [("", tree.Config)]
    while sections:
        path, section = sections.pop(0)
        inner = []
        rows = ["| key | type | default |", "|---|---|---|"]
        for field in msgspec.structs.fields(section):
            name = f"{path}.{field.name}".lstrip(".")
            nested, listed = _nested(field.type)
            if name == "wildcard":  # written as the entry "*" of models
                inner.append(('models."*"', tree.Wildcard))
                continue
            if nested is not None:
                inner.append((f"{name}.NAME" if listed else name, nested))
            rows.append(f"| `{field.name}` | {_type(field.type)} | {_default(field)} |")
        title = f"## `{path}`" if path else "## The file"
        parts.append(f"{title}\n\n{inspect.cleandoc(section.__doc__ or '')}\n\n" + "\n".join(rows) + "\n")
        sections = inner + sections
    return "\n".join(parts)


def _nested(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    for option in (kind, *typing.get_args(kind)):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option, typing.get_origin(kind) is dict
    return None, False


def _type(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        meta = arguments[1]
        bounds = [
            f"{sign} {value:g}" for sign, value in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le)) if value is not None
        ]
        return _type(arguments[0]) + (f" {', '.join(bounds)}" if bounds else "")
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join("`null`" if a is type(None) else _type(a) for a in arguments)
    if origin is dict:
        return f"mapping of names to {_type(arguments[1])}"
    if origin in {list, tuple}:
        return f"list of {_type(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "section"
    names = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "`true` or `false`",
        Path: "path",
        Any: "anything",
    }
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "**required**"
    if isinstance(value, msgspec.Struct):
        return "see below"
    if value is None:
        return "`null`"
    if value in ({}, (), []):
        return "empty"
    return f"`{value}`"


def main() -> int:
    """Write the page; with --check, only say whether it is up to date."""
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
