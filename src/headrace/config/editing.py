"""Changes a model's entry in the text of a headrace.yaml, and nothing else of it: comments and order stay.

Where the text does not let itself be changed so (what stands there comes from an anchor, for one), UsageError says so:
a person can do it. What comes out is read again, and is what was meant or is not given out.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from headrace.config.reading import Unreadable, compose, key_of, value_of
from headrace.core.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NOT_PLAIN = {"true", "false", "null"}


def setting(text: str) -> Any:
    """What a value on a command line means, as in the file: `2` is a number, `[a, b]` a list. Raises UsageError."""
    try:
        return value_of(compose(text)) if text.strip() else ""
    except Unreadable as error:
        raise UsageError(f"{text!r}: {error}") from None


def with_model(text: str, name: str, settings: Mapping[str, Any]) -> str:
    """The file with one more model; `settings` may be written ``batch.max_rows``. Raises UsageError if it has it."""
    before = _read(text)
    models = _child(before, "models")
    if not isinstance(models, yaml.MappingNode) or _child(models, name) is not None:
        raise UsageError(f"models.{name}: is there already" if models is not None else "the file has no models")
    entry: dict[str, Any] = {}
    for path, value in settings.items():
        _put(entry, path, value)
    return _checked(text, _insert(text, models, name, entry), {f"models.{name}": entry}, name)


def with_settings(text: str, name: str, settings: Mapping[str, Any]) -> str:
    """The file with other settings of one model; those that are not named stay. Raises UsageError."""
    changed = text
    for path, value in settings.items():
        keys = ["models", name, *path.split(".")]
        node: yaml.Node = _read(changed)
        while keys and isinstance(node, yaml.MappingNode) and (child := _child(node, keys[0])) is not None:
            node = child
            keys.pop(0)
        if not keys:
            changed = changed[: _start(node)] + _flow(value) + changed[_end(node) :]
        elif isinstance(node, yaml.MappingNode) and keys[0] != name:
            entry = value
            for key in reversed(keys[1:]):
                entry = {key: entry}
            changed = _insert(changed, node, keys[0], entry)
        else:
            raise UsageError(f"models.{name}: the file has no place for {path}")
    return _checked(text, changed, {f"models.{name}.{path}": value for path, value in settings.items()}, name)


def without_model(text: str, name: str) -> str:
    """The file without one model; where it has none of this name, the file as it is. Raises UsageError."""
    models = _child(_read(text), "models")
    if not isinstance(models, yaml.MappingNode):
        return text
    found = [pair for pair in models.value if key_of(pair[0]) == name]
    if not found:
        return text
    if len(models.value) == 1:
        raise UsageError(f"models.{name}: is the only model; a headrace serves at least one")
    start, end = found[0][0].start_mark.index, _end(found[0][1])
    if models.flow_style:
        after = re.compile(r"\s*,\s*").match(text, end)
        before = re.search(r",\s*\Z", text[:start])
        start, end = (start, after.end()) if after else (before.start() if before else start, end)
    else:
        start, end = _line_start(text, start), _line_end(text, end)
    return _checked(text, text[:start] + text[end:], {f"models.{name}": None}, name)


def _checked(before: str, after: str, changes: Mapping[str, Any], name: str) -> str:
    """`after`, where it is `before` with these changes and no other; None takes a model away."""
    wanted = copy.deepcopy(value_of(_read(before)))
    models = wanted["models"]
    for path, value in changes.items():
        rest = path.removeprefix(f"models.{name}").removeprefix(".")
        if value is None and not rest:
            del models[name]
        elif not rest:
            models[name] = value
        else:
            _put(models[name], rest, value)
    try:
        if value_of(compose(after)) == wanted:
            return after
    except Unreadable:
        pass
    raise UsageError(f"models.{name}: cannot be changed in this file without changing more; do it by hand and reload")


def _read(text: str) -> yaml.MappingNode:
    try:
        root = compose(text)
    except Unreadable as error:
        raise UsageError(f"the file cannot be read: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise UsageError("the file holds no models")
    return root


def _child(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    """What stands there itself; not what `<<` brings, which others may use as well."""
    return next((value for one, value in node.value if key_of(one) == key), None)


def _put(into: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = into.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{path}: {parent} is no section")
        into = inner
    into[last] = value


def _insert(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    """One more entry at the end of a mapping."""
    entry = f"{_key(key)}: {_flow(value)}"
    if mapping.flow_style or not mapping.value:
        closing = _end(mapping) - 1
        before = text[:closing].rstrip()
        comma = "" if before.endswith(("{", ",")) else ","
        space = "" if before.endswith("{") else " "
        return f"{before}{comma}{space}{entry}{text[closing:]}"
    at = _line_end(text, _end(mapping))
    indent = " " * mapping.value[0][0].start_mark.column
    before = text[:at] if text[:at].endswith("\n") else f"{text[:at]}\n"
    return f"{before}{indent}{entry}\n{text[at:]}"


def _start(node: yaml.Node) -> int:
    return int(node.start_mark.index)


def _end(node: yaml.Node) -> int:
    """Where a node's text ends; PyYAML's mark of a block is where the next thing begins, behind comments."""
    while isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Behind the end of the line; a block scalar ends behind it already."""
    if index and text[index - 1] == "\n":
        return index
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _NOT_PLAIN else json.dumps(key, ensure_ascii=False)


def _flow(value: Any) -> str:
    """A value as one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
