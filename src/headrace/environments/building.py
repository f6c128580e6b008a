"""Builds one environment with uv: an interpreter, a virtual environment, the build dependencies, the requirements."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import uv

from headrace.config import tree
from headrace.core.environments.environment import Spec, digest
from headrace.core.environments.mismatch import Package
from headrace.core.environments.requirements import requirement_of
from headrace.core.errors import EnvironmentBuildFailed, InterpreterMissing
from headrace.environments import survey
from headrace.environments.indexes import uv_environ, uv_options
from headrace.environments.interpreters import Interpreter, find_interpreter
from headrace.environments.store import Environment, EnvironmentStore, installed_names, size_bytes

_LINES = 20
_TREE = " \N{MULTIPLICATION SIGN}╰─▶├│⏐"
_ERRORS = ("error", "\N{MULTIPLICATION SIGN}")
_REASON_CHARS = 1500
_LINE_CHARS = 4000  # in JSON at most twelve times as many bytes: less than asyncio's 64 KiB


class Surveyed(msgspec.Struct, frozen=True):
    """What `survey.py` prints."""

    python: str
    markers: dict[str, str]
    packages: dict[str, Package]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to build: `python` is the version to look for, `model` the directory that holds the files of the spec."""

    home: str
    model: str
    spec: Spec
    python: str
    platform: str
    settings: tree.Environments


def build(order: Order, environ: Mapping[str, str]) -> Environment:
    """Build what is ordered, or wait for the process that does so already; returns the whole environment.

    Progress goes to standard error. Raises InterpreterMissing, RequirementRefused, or EnvironmentBuildFailed with the
    last lines of what failed; nothing half-built is left then.
    """
    order.spec.refuse_special(order.settings.allow)
    store = EnvironmentStore(Path(order.home))
    name = digest(order.spec, order.python, order.platform)
    with store.building(name) as path:
        found = store.find(name)
        if found is not None:
            return found
        started_s = time.monotonic()
        variables = uv_environ(environ)
        interpreter = _interpreter(order, environ, variables)
        try:
            _install(order, path, interpreter, variables, uv_options(environ))
            surveyed = _survey(store.python(name))
            environment = Environment(
                digest=name,
                spec=order.spec,
                python=surveyed.python,
                interpreter=interpreter.path,
                markers=surveyed.markers,
                packages=surveyed.packages,
                built_s=time.time(),
                took_s=time.monotonic() - started_s,
                size_bytes=size_bytes(path),
                installed_names=installed_names(path),
            )
            store.complete(environment)
        except OSError as error:
            raise EnvironmentBuildFailed(f"the environment could not be written: {error}") from error
    return environment


def lock_file(wheels: Path, digest: str) -> Path:
    """Beside its wheels, the exact content of an environment: one `NAME==VERSION --hash=...` a line."""
    return wheels / f"{digest}.txt"


def _interpreter(order: Order, environ: Mapping[str, str], variables: dict[str, str]) -> Interpreter:
    try:
        return find_interpreter(order.python, order.settings.interpreters, environ)
    except InterpreterMissing:
        if not order.settings.download_interpreters:
            raise
        _run([_uv(), "python", "install", "--no-bin", order.python], {**variables, "UV_PYTHON_DOWNLOADS": "manual"})
        return find_interpreter(order.python, order.settings.interpreters, environ)


def _install(
    order: Order, path: Path, interpreter: Interpreter, environ: Mapping[str, str], options: Sequence[str]
) -> None:
    _say(f"Python {interpreter.version} ({interpreter.source}: {interpreter.path})")
    path.mkdir(mode=0o700)
    _run([_uv(), "venv", "--no-project", "--allow-existing", "--python", interpreter.path, str(path)], environ)
    wanted = order.spec.requirements
    if order.settings.wheels is not None:
        lock = lock_file(Path(order.settings.wheels), path.name)
        options = ["--no-index", "--find-links", order.settings.wheels]
        if lock.is_file():
            _run([*_pip_install(path, order, str(lock), options), "--no-deps", "--require-hashes"], environ)
            return
    named = {requirement_of(line).name for line in wanted.packages}
    first = [line for line in order.spec.build if requirement_of(line).name not in named]
    archives = [Path(order.model, name).absolute().as_uri() for name in wanted.paths]  # its path may hold a blank
    with tempfile.TemporaryDirectory(dir=path, prefix="headrace-") as folder:
        if first:
            _run(_pip_install(path, order, _file(folder, "build.txt", first), options), environ)
        lines = ["# what the model records", *wanted.options, *wanted.packages, *archives]
        more = ["-c", _file(folder, "constraints.txt", wanted.constraints)] if wanted.constraints else []
        _run([*_pip_install(path, order, _file(folder, "requirements.txt", lines), options), *more], environ)


def _pip_install(path: Path, order: Order, requirements: str, options: Sequence[str]) -> list[str]:
    # Compiled here once: its users may not write to it, and an image that sets PYTHONDONTWRITEBYTECODE would have every
    # worker compile mlflow anew, 3 s each time.
    install = [_uv(), "pip", "install", "--compile-bytecode"]
    command = [*install, "--python", str(path / "bin" / "python"), *options, "-r", requirements]
    return command if order.settings.source_builds else [*command, "--only-binary", ":all:"]


def _file(folder: str, name: str, lines: Iterable[str]) -> str:
    """The path of a new file with these lines. In a file, a line cannot be taken for one of uv's own options."""
    path = Path(folder, name)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def _survey(python: Path) -> Surveyed:
    asked = subprocess.run(
        [str(python), "-I", str(Path(survey.__file__))], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if asked.returncode != 0:
        raise EnvironmentBuildFailed(f"the environment's Python does not run: {_reason(_decoded(asked.stderr))}")
    return msgspec.json.decode(asked.stdout, type=Surveyed)


def _run(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a tool, pass its lines on; raises EnvironmentBuildFailed with the last of them when it fails.

    It runs in the root directory, where no project's settings are found, and inherits what is to be inherited: the
    builder's leash.
    """
    last: deque[str] = deque(maxlen=_LINES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environ), cwd="/",
        close_fds=False,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            last.append(line)
            _say(line)
    if process.returncode != 0:
        ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise EnvironmentBuildFailed(f"{Path(command[0]).name} {command[1]} failed ({ended}): {_reason(last)}")


def _reason(lines: Iterable[str]) -> str:
    """A tool's last lines as one: from where it names its error, and without the tree that uv draws beside them."""
    whole = list(lines)
    start = next((n for n, line in enumerate(whole) if line.lstrip().startswith(_ERRORS)), 0)
    text = " ".join(" ".join(line.strip(_TREE).split()) for line in whole[start:])
    return text if len(text) <= _REASON_CHARS else "…" + text[-_REASON_CHARS:]


def _decoded(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()[-_LINES:]


def _uv() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        raise EnvironmentBuildFailed("uv is not installed beside headrace: pip install uv") from None


def _say(line: str) -> None:
    """Pass a line on, cut where it is absurdly long: the one who reads it has a buffer for one line."""
    if line:
        sys.stderr.write(json.dumps(line[:_LINE_CHARS]) + "\n")
        sys.stderr.flush()
