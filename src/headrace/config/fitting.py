"""Fits what was written to the tree's types, and collects all that does not fit: where, what, and what may be."""

from __future__ import annotations

import difflib
import re
from typing import Any

import msgspec
import yaml

from headrace.config import forms, kinds, tree
from headrace.config.expanding import Expanded
from headrace.config.reading import entries, key_of, line, own_keys, scalar, value_of
from headrace.config.section import Section
from headrace.core.errors import Problem

WRONG = object()
"""Stands for a value that does not fit; why is among the problems."""

_LONGEST = 40


class Fitting:
    """One pass over a document.

    `problems` is all that was found wrong. `meant` are the paths of keys that a misspelt one was probably meant for:
    that they are missing is no second mistake.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.meant: set[str] = set()

    def section(self, node: yaml.Node, kind: type[Section], path: str) -> Any:
        """A section of the tree; what does not fit in it has its default, and WRONG is returned where there is none."""
        if isinstance(node, yaml.ScalarNode) and scalar(node) is None:
            node = _empty(node)  # `log:` with nothing below it
        if not isinstance(node, yaml.MappingNode):
            return self._wrong(
                node, path, f"expected {_article('section')}, got {_told(node)}{_as_section(node, kind)}"
            )
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for name, value in self.entries(node, path):
            if name not in fields:
                self._unknown(node, name, kind, path)
                continue
            fitted = self.value(value, fields[name].type, f"{path}.{name}".lstrip("."))
            if fitted is not WRONG:
                values[name] = fitted
        given = {key_of(key) for key, _ in entries(node)}
        missing = [f"{path}.{name}" for name, field in fields.items() if field.required and name not in given]
        self.problems.extend(Problem(one, "is required", line(node)) for one in missing if one not in self.meant)
        return kind(**values) if all(not f.required or f.name in values for f in fields.values()) else WRONG

    def entries(self, node: yaml.MappingNode, path: str) -> list[tuple[str, yaml.Node]]:
        """A mapping's entries by name; a key that stands twice is wrong."""
        names = [key_of(key) for key in own_keys(node)]
        for place, key in enumerate(own_keys(node)):
            if key_of(key) in names[:place]:
                first = line(own_keys(node)[names.index(key_of(key))])
                where = f"{path}.{key_of(key)}".lstrip(".")
                told = f", first in line {first}" if first else ""
                self.problems.append(Problem(where, f"the key {key_of(key)!r} stands twice{told}", line(key)))
        return list({key_of(key): value for key, value in entries(node)}.items())

    def value(self, node: yaml.Node, kind: Any, path: str) -> Any:
        """What a node is for a setting of this type; WRONG where it does not fit."""
        section, mapping, item = kinds.section_of(kind), kinds.mapping_of(kind), kinds.item_of(kind)
        optional = type(None) in kinds.options(kind)
        if kind is Any:
            return value_of(node)
        if isinstance(node, yaml.MappingNode):
            if section is not None:
                return self.section(node, section, path)
            if mapping is not None:
                return self._mapping(node, mapping, path)
        elif isinstance(node, yaml.SequenceNode):
            if item is not None:
                items = [self.value(one, item, f"{path}[{at}]") for at, one in enumerate(node.value)]
                return WRONG if WRONG in items else tuple(items)
        elif isinstance(node, yaml.ScalarNode):
            value = scalar(node)
            if value is None and optional:
                return None
            if section is not None and optional and isinstance(value, bool):
                return self.section(_empty(node), section, path) if value else None
            if value is None and section is not None:
                return self.section(node, section, path)
            return self._scalar(node, kind, path)
        return self._wrong(node, path, f"expected {_article(kinds.words(kind))}, got {_told(node)}")

    def _unknown(self, node: yaml.MappingNode, name: str, kind: type[Section], path: str) -> None:
        known = [field.name for field in msgspec.structs.fields(kind) if field.name != "wildcard"]
        folded = name.lower().replace("-", "_")
        near = difflib.get_close_matches(folded, known, n=1) or [one for one in known if one.startswith(f"{folded}_")]
        elsewhere = [place for place, section in kinds.sections(tree.Config) if name in section.__struct_fields__]
        if near:
            place = next(filter(None, elsewhere), "")
            says = f"did you mean {near[0]!r}{f', or {place}.{name}' if place else ''}?"
            self.meant.add(f"{path}.{near[0]}".lstrip("."))
        elif elsewhere:
            says = f"it belongs under {' or '.join(one or 'the file itself' for one in elsewhere[:3])}"
        else:
            says = "known here: " + ", ".join(known)
        at = next((line(key) for key, _ in reversed(list(entries(node))) if key_of(key) == name), None)
        self.problems.append(Problem(f"{path}.{name}".lstrip("."), f"unknown key; {says}", at))

    def _mapping(self, node: yaml.MappingNode, kind: tuple[Any, Any], path: str) -> Any:
        fitted = {name: self.value(value, kind[1], f"{path}.{name}") for name, value in self.entries(node, path)}
        if "" in fitted and kinds.bounds(kind[0]).min_length:
            return self._wrong(node, path, "a name in it is empty")
        return WRONG if WRONG in fitted.values() else fitted

    def _scalar(self, node: yaml.ScalarNode, kind: Any, path: str) -> Any:
        value, key = scalar(node), path.rpartition(".")[2]
        for option in sorted(kinds.options(kind), key=lambda one: kinds.bare(one) is str):  # a text is what is left
            try:
                return msgspec.convert(
                    forms.as_kind(value, node.value, kinds.bare(option), key), option, dec_hook=_as_it_is
                )
            except msgspec.ValidationError:
                continue
        return self._wrong(node, path, _refusal(node, value, kind, key))

    def _wrong(self, node: yaml.Node, path: str, says: str) -> Any:
        self.problems.append(Problem(path, says, line(node)))
        return WRONG


def _refusal(node: yaml.ScalarNode, value: Any, kind: Any, key: str) -> str:
    """Why a scalar does not fit, and what to write instead."""
    words = kinds.literals(kind)
    only_words = all(kinds.literals(one) or one is type(None) for one in kinds.options(kind))
    section, item, unit = kinds.section_of(kind), kinds.item_of(kind), forms.unit_of(key)
    if section is not None:
        return f"expected {_article(kinds.words(kind))}, got {_told(node)}{_as_section(node, section)}"
    if item is not None:
        return f"expected {_article(kinds.words(kind))}, got {_told(node)}: write [{_brief(node)}]"
    if only_words and isinstance(value, str):
        near = difflib.get_close_matches(value, words, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{_brief(node)!r} is none of: {', '.join(sorted(words))}{hint}"
    if kinds.mapping_of(kind) is None:
        patterns = [kinds.bounds(option).pattern for option in kinds.options(kind)]
        if isinstance(value, str) and any(patterns):  # it may hold a password and is not repeated
            return f"expected text of the form {next(filter(None, patterns))}"
        if value == "":
            return f"expected {_article(kinds.words(kind))}, got an empty text"
    hint = f"; write {forms.such_as(unit)}" if unit and isinstance(value, str) else ""
    return f"expected {_article(kinds.words(kind))}, got {_told(node)}{hint}"


def _as_section(node: yaml.Node, kind: type[Section]) -> str:
    """What to write where a section was given as a scalar: the key that the scalar may be meant for."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    fits = []
    for field in msgspec.structs.fields(kind):
        probe = Fitting()
        if not isinstance(scalar(node), bool | None) and kinds.section_of(field.type) is None:
            probe.value(node, field.type, field.name)
            if not probe.problems:
                fits.append(field.name)
    if not fits:
        needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
        first = (needed or [msgspec.structs.fields(kind)[0].name])[0]
        return f": write {{{first}: ...}}" if needed or scalar(node) is not True else ": write {}"
    return f": write {{{fits[0]}: {_brief(node)}}}"


def _article(words: str) -> str:
    words = words.replace("`", "")
    return f"a {words}" if re.match(r"(whole )?number|section|mapping|list|path", words) else words


def _told(node: yaml.Node) -> str:
    """What stands there, for a message; never what a variable holds."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    value = scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{_brief(node)}"
    return f"the text '{_brief(node)}'" if isinstance(value, str) else f"the number {_brief(node)}"


def _brief(node: yaml.Node) -> str:
    text = node.source if isinstance(node, Expanded) else str(node.value)
    if "://" in text and "@" in text:
        return "..."  # an address with a password, perhaps
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _empty(node: yaml.Node) -> yaml.MappingNode:
    return yaml.MappingNode(node.tag, [], node.start_mark, node.end_mark)


def _as_it_is(kind: type[Any], value: object) -> object:
    """What msgspec has no form of its own for, a path, is made already."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"not a {kind.__name__}")
