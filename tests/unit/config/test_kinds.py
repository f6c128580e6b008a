"""The types of the tree, taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from headrace.config import kinds, tree

Bounded = Annotated[int, msgspec.Meta(ge=1, lt=9)]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "whole number"),
        (float | None, "number or `null`"),
        (Bounded, "whole number ≥ 1, < 9"),
        (Bounded | None, "whole number ≥ 1, < 9 or `null`"),
        (Literal["a", "b"], "`a` or `b`"),
        (tuple[str, ...], "list of text"),
        (dict[str, int], "mapping of names to whole number"),
        (tree.Checks | None, "section or `null`"),
        (Path, "path"),
        (Any, "anything"),
    ],
    ids=str,
)
def test_a_type_in_words(kind: Any, words: str) -> None:
    assert kinds.words(kind) == words


def test_options_bounds_and_what_is_bare() -> None:
    assert kinds.options(int | None) == (int, type(None))
    assert kinds.options(int) == (int,)
    assert (kinds.bare(Bounded), kinds.bare(int)) == (int, int)
    assert (kinds.bounds(Bounded).ge, kinds.bounds(int).ge) == (1, None)
    assert kinds.literals(Literal["a", "b"] | int) == ("a", "b")


def test_what_is_inside_a_type() -> None:
    assert kinds.section_of(tree.Checks | None) is tree.Checks
    assert kinds.section_of(int | None) is None
    assert kinds.mapping_of(dict[str, int] | None) == (str, int)
    assert kinds.mapping_of(int) is None
    assert kinds.item_of(tuple[str, ...] | None) is str
    assert kinds.item_of(dict[str, int]) is None


def test_every_section_has_its_path() -> None:
    found = dict(kinds.sections(tree.Config))
    assert found[""] is tree.Config
    assert found["models.NAME"] is tree.Model
    assert found["models.NAME.checks"] is tree.Checks
    assert not any("wildcard" in path for path in found)
