"""The JSON Schema of ``headrace.yaml``, made from the tree: what an editor completes, explains and underlines.

Draft 7, which every editor knows. It takes what the loader takes, value by value; what is wrong only in combination
(a port that stands twice) is the loader's alone to say.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import forms, kinds, tree
from headrace.config.section import Section
from headrace.config.traffic import WILDCARD
from headrace.core.identity import NAME

_VARIABLE = r"\$\{"
_NUMBER = r"^[-+]?[0-9_]*\.?[0-9]+([eE][-+]?[0-9]+)?$"
_TRUTH = "^([yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF|[tT]rue|TRUE|[fF]alse|FALSE)$"
_EMPTY: dict[str, Any] = {"type": "null"}


def schema() -> dict[str, Any]:
    """The schema of a whole file."""
    made = _section(tree.Config)
    made["properties"]["models"] = {
        "description": _text(tree.Model, ""),
        "type": "object",
        "minProperties": 1,
        "properties": {WILDCARD: _section(tree.Wildcard)},
        "propertyNames": {"anyOf": [{"const": WILDCARD}, {"pattern": NAME.pattern}]},
        "additionalProperties": _section(tree.Model),
    }
    made["required"] = ["models"]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "headrace.yaml", **made}


def _section(kind: type[Section]) -> dict[str, Any]:
    fields = [field for field in msgspec.structs.fields(kind) if field.name != "wildcard"]
    made = {
        "description": _text(kind, ""),
        "type": "object",
        "properties": {field.name: _property(kind, field) for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.required]
    return {**made, "required": required} if required else made


def _property(kind: type[Section], field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    made = _value(field.type, field.name)
    section = kinds.section_of(field.type)
    holders = [one for one in kind.__mro__ if issubclass(one, Section)]  # one may take keys over from another
    told = next(filter(None, (_text(one, field.name) for one in holders)), "")
    told = told or (_text(section, "") if section is not None else "")
    if told:
        made = {"description": told, **made}
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if default is not msgspec.NODEFAULT and not isinstance(default, Section):
        made["default"] = msgspec.json.decode(msgspec.json.encode(default, enc_hook=str))
    return made


def _value(kind: Any, key: str) -> dict[str, Any]:
    """The schema of a setting's value; `key` is the setting's name, which says its unit."""
    options = kinds.options(kind)
    if Any in options:
        return {}
    found = [one for option in options for one in _option(option, key)]
    if kinds.section_of(kind) is not None:
        found.append({"type": "boolean"} if type(None) in options else _EMPTY)
    elif kinds.mapping_of(kind) is None and kinds.item_of(kind) is None and kinds.bare(options[0]) is not str:
        found.append({"type": "string", "pattern": _VARIABLE})
    return found[0] if len(found) == 1 else {"anyOf": found}


def _option(kind: Any, key: str) -> list[dict[str, Any]]:
    """What one member of a union may be written as."""
    bare, bounds = kinds.bare(kind), kinds.bounds(kind)
    if kind is type(None):
        return [_EMPTY]
    if kinds.section_of(kind) is not None:
        return [_section(bare)]
    if (mapping := kinds.mapping_of(kind)) is not None:
        return [{"type": "object", "additionalProperties": _value(mapping[1], "")}]
    if (item := kinds.item_of(kind)) is not None:
        return [{"type": "array", "items": _value(item, "")}]
    if words := kinds.literals(kind):
        return [{"enum": list(words)}]
    if bare is bool:
        return [{"type": "boolean"}, {"type": "string", "pattern": _TRUTH}]
    if bare in {int, float}:
        limits = (("minimum", bounds.ge), ("exclusiveMinimum", bounds.gt), ("maximum", bounds.le))
        number = {"type": "integer" if bare is int else "number", **{k: v for k, v in limits if v is not None}}
        unit = forms.unit_of(key)
        patterns = [_NUMBER, forms.pattern_of(unit)] if unit is not None else [_NUMBER]
        return [number, *({"type": "string", "pattern": pattern} for pattern in patterns)]
    text: dict[str, Any] = {"type": "string"} if bare is Path else {"type": ["string", "number", "boolean"]}
    if bounds.min_length:
        text["minLength"] = bounds.min_length
    if bounds.pattern:
        text["pattern"] = f"{bounds.pattern}|{_VARIABLE}"
    return [text]


def _text(kind: type[Section], key: str) -> str:
    """What the documentation says of a key of a section, or of the section itself where `key` is empty."""
    whole = re.sub(r"^`[^`]+:(?: \{[^`]*)?` ?", "", inspect.cleandoc(kind.__doc__ or ""))
    paragraphs = [" ".join(paragraph.split()) for paragraph in whole.split("\n\n")]
    if not key:
        return "\n\n".join(paragraphs)
    names = [field.name for field in msgspec.structs.fields(kind)]
    told: list[str] = []
    for paragraph in paragraphs:
        wanted = False
        for sentence in re.split(r"(?<=\.)\s+(?=[`A-Z0-9])", paragraph):
            named = {name for name in names if re.search(rf"`{name}(?:`|: )", sentence)}
            wanted = key in named or (wanted and not named)  # what follows is about it, up to the next key
            if wanted:
                told.append(sentence)
    return " ".join(told)
