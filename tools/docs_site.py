"""Lays out the pages of the documentation site: python tools/docs_site.py DIRECTORY.

They are those that are read on GitHub, in the same places, so that their links hold. Added are the files that pages
link to, a page for each directory that is linked to, and the pages of the Python reference. A link that leads nowhere
ends it with 1, and so does a page that the navigation does not have.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "examples/*/README.md")
_CLIENT = """connect aconnect Client AsyncClient Stream AsyncStream Prediction Options BudgetPolicy BreakerPolicy
HedgePolicy ClientError BadRequest ModelError Overloaded Unavailable DeadlineExceeded PartialFailure RowsFailed"""
API = {
    "client": ("headrace.client", _CLIENT.split()),
    "deployments": ("headrace.deployments", ["HeadraceDeployments", "run_local", "target_help"]),
}
_LINK = re.compile(r"(?<!`)(!?\[[^\]]*\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^(```|~~~)")


def main(to: Path) -> int:
    """Make the directory anew; returns the exit code."""
    shutil.rmtree(to, ignore_errors=True)
    pages = sorted({path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)})
    problems: list[str] = []
    seen = set(pages)
    while pages:
        page = pages.pop()
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in sorted(set(_targets(text))):
            file = (ROOT / page.parent / target).resolve()
            if not file.is_relative_to(ROOT) or not file.exists():
                problems.append(f"{page}: {target} is not there")
                continue
            linked = file.relative_to(ROOT)
            if file.is_dir() and not (file / "README.md").is_file():
                _write(to / linked / "README.md", _listing(file))
            elif file.is_dir():
                linked /= "README.md"
            if linked.suffix == ".md" and linked not in seen:
                seen.add(linked)
                pages.append(linked)
            elif file.is_file() and linked.suffix != ".md":
                _copy(file, to / linked)
        _write(to / page, _repointed(text, page))
    for name, (module, members) in API.items():
        body = "".join(f"\n::: {module}.{member}\n" for member in members)
        _write(to / "api" / f"{name}.md", f"# {module}\n{body}")
    shown = set(_navigation(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    there = {str(page) for page in seen} | {f"api/{name}.md" for name in API}
    problems += [f"zensical.toml: nav has {page}, and there is no such page" for page in sorted(shown - there)]
    hidden = {one for one in there - shown if one.startswith("docs/") and one.count("/") == 1}
    problems += [f"zensical.toml: nav lacks {page}" for page in sorted(hidden)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _targets(text: str) -> Iterator[str]:
    """The files that a page links to, without the place in them."""
    for line in _prose(text):
        for _, target, _ in _LINK.findall(line):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                yield target.partition("#")[0]


def _prose(text: str) -> Iterator[str]:
    """The lines that are not in a block of code."""
    fenced = False
    for line in text.splitlines():
        if _FENCE.match(line.lstrip()):
            fenced = not fenced
        elif not fenced:
            yield line


def _repointed(text: str, page: Path) -> str:
    """The page with links to directories leading to the pages that stand for them."""

    def pointed(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        path, _, place = target.partition("#")
        if "://" in target or not path or not (ROOT / page.parent / path).is_dir():
            return match[0]
        return f"{before}{PurePosixPath(path) / 'README.md'}{'#' if place else ''}{place}{after}"

    fenced = False
    lines = []
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line.lstrip()):
            fenced = not fenced
        lines.append(line if fenced else _LINK.sub(pointed, line))
    return "".join(lines)


def _listing(directory: Path) -> str:
    """A page that stands for a directory."""
    name = directory.relative_to(ROOT)
    files = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    kept = [path for path in files if "__pycache__" not in path.parts]
    return f"# {name}\n\nIn the repository:\n\n" + "".join(f"- `{name / path}`\n" for path in kept)


def _navigation(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            if isinstance(value, list):
                yield from _navigation(value)
            else:
                yield str(value)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
