"""Checks the bounds that keep the code's structure simple: `make lint` runs it. Exit code 1 where one is broken.

Imports for types only are counted: whoever reads a module has to know what it names.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_MODULES_IN_A_CIRCLE = 2
MOST_METHODS_OF_A_CLASS = 30
MOST_LINES_OF_A_FILE = 420
MOST_MODULES_IN_A_FOLDER = 24

# What is beyond a bound today, and how far: it may shrink, not grow. Whoever brings one within takes it out.
KNOWN: dict[str, int] = {}

SOURCES = Path(__file__).resolve().parent.parent / "src"


@dataclass(frozen=True)
class Finding:
    """`what` has `number` of something, of which there may be `most`."""

    what: str
    number: int
    most: int
    told: str


def main() -> int:
    """Print each bound that is broken, and each known one that is not any more, one a line."""
    files = {_module(path): path for path in SOURCES.rglob("*.py")}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
    found = [*_too_long(files), *_too_many_methods(trees), *_too_full(files), *_circles(trees)]
    wrong = [
        f"{one.told}, at most {KNOWN.get(one.what, one.most)}" for one in found if one.number > KNOWN.get(one.what, 0)
    ]
    wrong += [
        f"{what}: within its bound now: take it out of KNOWN" for what in KNOWN.keys() - {one.what for one in found}
    ]
    for one in wrong:
        print(one)  # noqa: T201 - its result
    return 1 if wrong else 0


def _module(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _too_long(files: dict[str, Path]) -> Iterator[Finding]:
    for name, path in sorted(files.items()):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES_OF_A_FILE:
            yield Finding(name, lines, MOST_LINES_OF_A_FILE, f"{name}: {lines} lines")


def _too_many_methods(trees: dict[str, ast.Module]) -> Iterator[Finding]:
    for name, tree in sorted(trees.items()):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in node.body)
                if methods > MOST_METHODS_OF_A_CLASS:
                    what = f"{name}.{node.name}"
                    yield Finding(what, methods, MOST_METHODS_OF_A_CLASS, f"{what}: {methods} methods")


def _too_full(files: dict[str, Path]) -> Iterator[Finding]:
    counted = Counter(path.parent for path in files.values() if path.name != "__init__.py")
    for folder, modules in sorted(counted.items()):
        if modules > MOST_MODULES_IN_A_FOLDER:
            what = str(folder.relative_to(SOURCES))
            yield Finding(what, modules, MOST_MODULES_IN_A_FOLDER, f"{what}: {modules} modules")


def _circles(trees: dict[str, ast.Module]) -> Iterator[Finding]:
    imports = {name: set(_imported(tree, trees)) - {name} for name, tree in trees.items()}
    for circle in _strongly_connected(imports):
        if len(circle) > MOST_MODULES_IN_A_CIRCLE:
            what = f"circle of {min(circle).rpartition('.')[0]}"
            told = f"{what}, {len(circle)} modules: {', '.join(sorted(circle))}"
            yield Finding(what, len(circle), MOST_MODULES_IN_A_CIRCLE, told)


def _imported(tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known:
                    yield whole
                elif node.module in known:
                    yield node.module


def _strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """Tarjan's algorithm, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[set[str]] = []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    circle: set[str] = set()
                    while node not in circle:
                        circle.add(stack.pop())
                    on_stack -= circle
                    found.append(circle)
    return found


if __name__ == "__main__":
    sys.exit(main())
