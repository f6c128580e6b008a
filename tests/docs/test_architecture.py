"""What docs/architecture.md names is there: files, what stands right behind them, and how many a walk goes through."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILE = re.compile(r"`([\w/]+\.py)`")
BEHIND = re.compile(r"`([\w/]+\.py)`\s+`(\w+(?:\.\w+)?)`")
MEMBER = re.compile(r"`([A-Z]\w*\.\w+)`")
WALK = re.compile(r"^\*\*[^*]+\*\* \((\d+) files\):\n\n((?:(?:\d\.|  ) [^\n]*\n)+)", re.MULTILINE)


def places(name: str) -> list[Path]:
    """Where a file is that the page names: from one of three directories."""
    return [path for base in ("src/headrace", "src", ".") if (path := ROOT / base / name).is_file()]


def names(nodes: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """What these statements define: functions, classes and variables."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))


@cache
def defined(path: Path) -> frozenset[str]:
    """`name` and `Class.member` of all that a file defines."""
    every: set[str] = set()
    for name, node in names(ast.parse(path.read_text(encoding="utf-8")).body):
        every.add(name)
        if isinstance(node, ast.ClassDef):
            every |= {f"{name}.{member}" for member, _ in names(node.body)}
    return frozenset(every)


@pytest.mark.parametrize("name", sorted(set(FILE.findall(PAGE))))
def test_every_file_is_there_once(name: str) -> None:
    assert len(places(name)) == 1


@pytest.mark.parametrize(("name", "symbol"), sorted(set(BEHIND.findall(PAGE))))
def test_what_stands_right_behind_a_file_is_in_it(name: str, symbol: str) -> None:
    assert symbol in {one for path in places(name) for one in defined(path)}


@pytest.mark.parametrize("symbol", sorted(set(MEMBER.findall(PAGE))))
def test_every_member_is_in_a_file_that_the_page_names(symbol: str) -> None:
    assert any(symbol in defined(path) for name in FILE.findall(PAGE) for path in places(name))


def test_walks_say_how_many_files_they_go_through() -> None:
    walks = WALK.findall(PAGE)
    assert len(walks) == 4
    assert [int(count) for count, _ in walks] == [len(set(FILE.findall(steps))) for _, steps in walks]
