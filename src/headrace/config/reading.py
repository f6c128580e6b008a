"""Reads YAML as YAML 1.2 (and so JSON) means it, into nodes that know what was written and in which line.

PyYAML resolves plain scalars as YAML 1.1 does, for which ``1e-9`` is a text, ``off`` false and ``1:30`` ninety.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from headrace.core.errors import Problem

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_DEEPEST = 50
_MOST_NODES = 200_000
_LONGEST_NUMBER = 300

_INT = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Unreadable(Exception):
    """The text is no YAML, or more than a configuration can be."""

    def __init__(self, says: str, line: int | None = None) -> None:
        super().__init__(says)
        self.problem = Problem("", says, line)


class _Loader(yaml.SafeLoader):
    """Composes nodes; its scalars are those of YAML 1.2's core schema, and numbers may have underscores."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's


for _name, _pattern, _first in (
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("merge", re.compile("<<"), "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern.pattern})\\Z"), list(_first))


def compose(text: str) -> yaml.Node:
    """The node of the only document in `text`; raises Unreadable with the line."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise _unreadable(error) from None
    finally:
        loader.dispose()
    if node is None:
        raise Unreadable("is empty; write one like the example in the README")
    _check_size(node)
    return node


def represent(document: object) -> yaml.Node:
    """The node of what a parser has made already; raises Unreadable where YAML has no form for it."""
    try:
        return yaml.representer.SafeRepresenter().represent_data(document)
    except yaml.YAMLError as error:
        raise Unreadable(f"holds what a file cannot: {error}") from None


def resolve(text: str) -> str:
    """The tag of a plain scalar."""
    tag: str = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag


def entries(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """A mapping's keys and values. What `<<` brings stands first: an entry of the mapping itself displaces it."""
    for key, value in node.value:
        if key.tag == _MERGE:
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in reversed(sources):
                if isinstance(source, yaml.MappingNode):
                    yield from entries(source)
    for key, value in node.value:
        if key.tag != _MERGE:
            yield key, value


def own_keys(node: yaml.MappingNode) -> list[yaml.ScalarNode]:
    """The keys that the mapping itself has, without what `<<` brings."""
    return [key for key, _ in node.value if key.tag != _MERGE]


def key_of(node: yaml.Node) -> str:
    """A key as it was written; only scalars are keys here, as in JSON."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"


def scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """What a scalar means."""
    text: str = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    found = number(text) if kind in {"int", "float"} else None
    return text if found is None else found


def number(text: str) -> int | float | None:
    """The number that a text is in YAML 1.2 and in JSON; None: it is none."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1) if text.lower().lstrip("-+") in {".inf", ".nan"} else text)
    return None


def value_of(node: yaml.Node) -> Any:
    """What a node means, as plain Python; the keys of mappings are texts, as they were written."""
    if isinstance(node, yaml.MappingNode):
        return {key_of(key): value_of(value) for key, value in entries(node)}
    if isinstance(node, yaml.SequenceNode):
        return [value_of(item) for item in node.value]
    return scalar(node) if isinstance(node, yaml.ScalarNode) else None


def line(node: yaml.Node) -> int | None:
    """The line in which a node begins, from 1; None: it came from no file."""
    return None if node.start_mark is None else node.start_mark.line + 1


def line_at(root: yaml.Node, path: str) -> int | None:
    """The line of what stands at a path such as ``models.topic.port``, or of the innermost thing around it."""
    found = line(root)
    node, rest = root, path
    while rest and isinstance(node, yaml.MappingNode):
        # The longest key that fits: a model's name may hold dots.
        fits = [(key, value) for key, value in entries(node) if f"{rest}.".startswith((f"{key_of(key)}.",))]
        fits = fits or [(key, value) for key, value in entries(node) if rest.startswith(f"{key_of(key)}[")]
        if not fits:
            break
        key, node = max(fits, key=lambda one: len(key_of(one[0])))
        rest = rest[len(key_of(key)) :].lstrip(".")
        found = line(key)
    return found


def _check_size(root: yaml.Node) -> None:
    """Refuse what aliases make endless."""
    seen = 0
    todo = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_NODES:
            raise Unreadable("is nested too deeply, or too large", line(node))
        if node.tag.removeprefix(_TAG) not in {"map", "seq", "str", "int", "float", "bool", "null", "merge"}:
            raise Unreadable(f"a tag such as {node.tag.replace(_TAG, '!!')} is not taken", line(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise Unreadable("a key is a text or a number", line(key))
                todo.append((value, depth + 1))
        elif isinstance(node, yaml.SequenceNode):
            todo.extend((item, depth + 1) for item in node.value)


def _unreadable(error: yaml.YAMLError) -> Unreadable:
    """What is wrong with a text and in which line of it, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Unreadable(f"not valid YAML: {' '.join(str(error).split())}")
    mark = error.problem_mark
    parts = (error.context, error.problem)
    told = ", ".join(" ".join(part.split()) for part in parts if part)
    return Unreadable(f"not valid YAML: column {mark.column + 1}: {told}", mark.line + 1)
