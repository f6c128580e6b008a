"""`${VAR}` and `${VAR:-default}` in the values of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from headrace.config.reading import line, resolve
from headrace.core.errors import Problem

_VARIABLE = re.compile(r"\$(?P<escaped>\$)?\{(?P<inside>[^{}]*)\}")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class Expanded(yaml.ScalarNode):
    """A scalar that held variables; `source` is how it was written, without what they stand for."""

    source: str


def expand(root: yaml.Node, environ: Mapping[str, str]) -> tuple[yaml.Node, list[Problem]]:
    """The document with its variables replaced, and what is wrong with them. `$${` stands for the text `${`.

    A value without quotes means afterwards what its new text means: `port: ${PORT}` is a number.
    """
    return _Expansion(environ).run(root)


class _Expansion:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[Problem] = []
        self._done: dict[int, yaml.Node] = {}

    def run(self, root: yaml.Node) -> tuple[yaml.Node, list[Problem]]:
        return self._node(root), self._problems

    def _node(self, node: yaml.Node) -> yaml.Node:
        """The node with its variables replaced; what an alias names is replaced once."""
        if id(node) not in self._done:
            if isinstance(node, yaml.MappingNode):
                node.value = [(key, self._node(value)) for key, value in node.value]
                self._done[id(node)] = node
            elif isinstance(node, yaml.SequenceNode):
                node.value = [self._node(item) for item in node.value]
                self._done[id(node)] = node
            else:
                self._done[id(node)] = self._scalar(node) if isinstance(node, yaml.ScalarNode) else node
        return self._done[id(node)]

    def _scalar(self, node: yaml.ScalarNode) -> yaml.ScalarNode:
        if "${" not in node.value:
            return node
        text = _VARIABLE.sub(lambda found: self._value(found, node), node.value)
        tag = resolve(text) if node.style is None else node.tag
        made = Expanded(tag, text, node.start_mark, node.end_mark, node.style)
        made.source = node.value
        return made

    def _value(self, found: re.Match[str], node: yaml.ScalarNode) -> str:
        if found["escaped"]:
            return found[0][1:]
        inside = _INSIDE.fullmatch(found["inside"])
        if inside is None:
            forms = "${NAME}, ${NAME:-default}"
            says = f"{found[0]} names no variable: write {forms}, or ${found[0]} for the text itself"
            self._problems.append(Problem("", says, line(node)))
            return ""
        value = self._environ.get(inside["name"], "")
        if value or inside["default"] is not None:
            return value or inside["default"]
        if inside["name"] not in self._environ:
            says = f"the variable {inside['name']} is not set; set it, or write ${{{inside['name']}:-default}}"
            self._problems.append(Problem("", says, line(node)))
        return value
