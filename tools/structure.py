"""Checks the bounds that keep the code's structure simple: `make lint` runs it. Exit code 1 where one is broken.

Imports for types only are counted: whoever reads a module has to know what it names.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MOST_MODULES_IN_A_CIRCLE = 2
MOST_METHODS_OF_A_CLASS = 30
MOST_LINES_OF_A_FILE = 420
MOST_MODULES_IN_A_FOLDER = 24

SOURCES = Path(__file__).resolve().parent.parent / "src"


def main() -> int:
    """Print each bound that is broken, one a line."""
    files = {_module(path): path for path in SOURCES.rglob("*.py")}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
    found = [*_too_long(files), *_too_many_methods(trees), *_too_full(files), *_circles(trees)]
    for one in found:
        print(one)  # noqa: T201 - its result
    return 1 if found else 0


def _module(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _too_long(files: dict[str, Path]) -> Iterator[str]:
    for name, path in sorted(files.items()):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES_OF_A_FILE:
            yield f"{name}: {lines} lines, at most {MOST_LINES_OF_A_FILE}"


def _too_many_methods(trees: dict[str, ast.Module]) -> Iterator[str]:
    for name, tree in sorted(trees.items()):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in node.body)
                if methods > MOST_METHODS_OF_A_CLASS:
                    yield f"{name}.{node.name}: {methods} methods, at most {MOST_METHODS_OF_A_CLASS}"


def _too_full(files: dict[str, Path]) -> Iterator[str]:
    counted = Counter(path.parent for path in files.values() if path.name != "__init__.py")
    for folder, modules in sorted(counted.items()):
        if modules > MOST_MODULES_IN_A_FOLDER:
            yield f"{folder.relative_to(SOURCES)}: {modules} modules, at most {MOST_MODULES_IN_A_FOLDER}"


def _circles(trees: dict[str, ast.Module]) -> Iterator[str]:
    imports = {name: set(_imported(tree, trees)) - {name} for name, tree in trees.items()}
    for circle in _strongly_connected(imports):
        if len(circle) > MOST_MODULES_IN_A_CIRCLE:
            yield f"a circle of {len(circle)} modules, at most {MOST_MODULES_IN_A_CIRCLE}: {', '.join(sorted(circle))}"


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
