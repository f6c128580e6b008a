"""The types of the tree: taken apart, and in the words that the settings page and the error messages have for them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from headrace.config.section import Section

_NAMES = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true` or `false`",
    Path: "path",
    Any: "anything",
    type(None): "`null`",
}


def options(kind: Any) -> tuple[Any, ...]:
    """What a type allows, one by one: the members of a union, or the type alone."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return typing.get_args(kind)
    return (kind,)


def bare(kind: Any) -> Any:
    """A type without its bounds."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def bounds(kind: Any) -> msgspec.Meta:
    """A type's bounds; empty where it has none."""
    return typing.get_args(kind)[1] if typing.get_origin(kind) is typing.Annotated else msgspec.Meta()


def section_of(kind: Any) -> type[Section] | None:
    """The section among the options of a type; None if there is none. For a mapping of sections see `mapping_of`."""
    for option in options(kind):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def mapping_of(kind: Any) -> tuple[Any, Any] | None:
    """The types of the keys and of the values of the mapping among a type's options."""
    for option in options(kind):
        if typing.get_origin(option) is dict:
            key, value = typing.get_args(option)
            return key, value
    return None


def item_of(kind: Any) -> Any:
    """The type of the items of the list among a type's options; None: there is none."""
    for option in options(kind):
        if typing.get_origin(option) in {list, tuple}:
            return typing.get_args(option)[0]
    return None


def sections(kind: type[Section], path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """A section and all below it, with their paths; the entries of `models` stand under ``models.NAME``."""
    yield path, kind
    for field in msgspec.structs.fields(kind):
        mapping = mapping_of(field.type)
        inner = section_of(mapping[1] if mapping else field.type)
        if inner is not None and field.name != "wildcard":
            yield from sections(inner, f"{path}.{field.name}".lstrip(".") + (".NAME" if mapping else ""))


def literals(kind: Any) -> tuple[str, ...]:
    """The words that a type allows, wherever among its options they stand."""
    return tuple(
        word for option in options(kind) if typing.get_origin(option) is typing.Literal
        for word in typing.get_args(option)
    )  # fmt: skip


def words(kind: Any) -> str:
    """A type as the settings page calls it, such as ``whole number ≥ 1 or `null```."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        meta = arguments[1]
        limits = (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
        told = [f"{sign} {value}" for sign, value in limits if value is not None]
        return words(arguments[0]) + (f" {', '.join(told)}" if told else "")
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(map(words, arguments))
    if origin is dict:
        return f"mapping of names to {words(arguments[1])}"
    if origin in {list, tuple}:
        return f"list of {words(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "section"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
