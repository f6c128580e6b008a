"""Finds an interpreter of the Python version that a model was trained with, or says where it looked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from headrace.core.environments.environment import minor
from headrace.core.errors import InterpreterMissing

_PROBE = (
    "import json, platform, sys; "
    "print(json.dumps("
    "[platform.python_version(), sys.implementation.name, sys.version_info[:2] >= (3, 8), sys.executable]))"
)
_PROBE_S = 20.0
_VERSION = re.compile(r"(?:cpython-)?(\d+\.\d+)(?:\.\d+)?(?![\w.+])")


class Interpreter(msgspec.Struct, frozen=True):
    """An interpreter that runs: its path, its version, and how it was found (``PATH``, ``pyenv``, ...).

    The path is its own and not that of a shim on PATH, which is another interpreter in another directory.
    """

    path: str
    version: str
    source: str


class _Candidate(msgspec.Struct, frozen=True):
    path: Path
    source: str
    minor: str | None  # as its folder's name says; None: only running it tells


def find_interpreter(wanted: str, configured: Iterable[str], environ: Mapping[str, str]) -> Interpreter:
    """An interpreter for the version `wanted`: that very patch release if there is one, else the same minor version.

    Looked at, in this order: `configured` paths, the running one, PATH, pyenv's, uv's. Candidates are run to ask for
    their version. Raises InterpreterMissing with all that was found.
    """
    fitting: list[Interpreter] = []
    others: list[str] = []
    seen: set[Path] = set()
    for candidate in _candidates(minor(wanted), list(configured), environ):
        real = candidate.path.resolve()
        if real in seen:
            continue
        seen.add(real)
        if candidate.minor not in {None, minor(wanted)}:
            others.append(f"{candidate.minor} ({candidate.source})")
            continue
        found = _probe(candidate)
        if found is None:
            if candidate.source == "configured":
                others.append(f"{candidate.path} (configured, does not run)")
        elif found.version == wanted:
            return found
        elif minor(found.version) == minor(wanted):
            fitting.append(found)
        else:
            others.append(f"{found.version} ({found.source})")
    if fitting:
        return fitting[0]
    raise InterpreterMissing(
        f"the model was trained with Python {wanted} and there is no Python {minor(wanted)} on this machine; "
        f"found: {', '.join(dict.fromkeys(others)) or 'none'}; looked at environments.interpreters, PATH, "
        f"{_pyenv_directory(environ)} and {uv_directory(environ)}. "
        f"Install one (pyenv install {minor(wanted)}, or uv python install {minor(wanted)}), name it in "
        "environments.interpreters, or serve the model with environment: local"
    )


def uv_directory(environ: Mapping[str, str]) -> Path:
    """Where uv keeps the interpreters that it has installed."""
    if environ.get("UV_PYTHON_INSTALL_DIR"):
        return Path(environ["UV_PYTHON_INSTALL_DIR"])
    data = environ.get("XDG_DATA_HOME")
    return (Path(data) if data else _home(environ) / ".local" / "share") / "uv" / "python"


def _pyenv_directory(environ: Mapping[str, str]) -> Path:
    root = environ.get("PYENV_ROOT")
    return (Path(root) if root else _home(environ) / ".pyenv") / "versions"


def _candidates(wanted: str, configured: list[str], environ: Mapping[str, str]) -> Iterator[_Candidate]:
    for path in configured:
        yield _Candidate(Path(path).expanduser(), "configured", None)
    yield _Candidate(Path(sys.executable), "running", "{}.{}".format(*sys.version_info))
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    for name in (f"python{wanted}", "python3", "python"):
        for folder in folders:
            if os.access(folder / name, os.X_OK) and (folder / name).is_file():
                yield _Candidate(folder / name, "PATH", None)
    yield from _below(_pyenv_directory(environ), "pyenv")
    yield from _below(uv_directory(environ), "uv")


def _below(folder: Path, source: str) -> Iterator[_Candidate]:
    """The interpreters in the folders of one tool, newest first; what is not named after a version is left out."""
    try:
        entries = [entry for entry in folder.iterdir() if _VERSION.match(entry.name)]
    except OSError:
        return
    for entry in sorted(entries, key=lambda e: [int(n) for n in re.findall(r"\d+", e.name)[:3]], reverse=True):
        python, match = entry / "bin" / "python3", _VERSION.match(entry.name)
        if match and os.access(python, os.X_OK):
            yield _Candidate(python, source, match[1])


def _probe(candidate: _Candidate) -> Interpreter | None:
    """Run a candidate and ask for its version; None where it does not run or is no CPython that can be used."""
    try:
        asked = subprocess.run(
            [str(candidate.path), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=True,
        )
        version, implementation, usable, path = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if implementation != "cpython" or not usable:
        return None
    return Interpreter(path or str(candidate.path.absolute()), version, candidate.source)


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())
