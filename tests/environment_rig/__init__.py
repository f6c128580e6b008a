"""Model directories that record an environment, wheels of no substance, and models trained in other environments."""

import asyncio
import json
import os
import subprocess
import zipfile
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from headrace.config import tree
from headrace.core.errors import InterpreterMissing
from headrace.environments.interpreters import find_interpreter
from headrace.environments.preparing import Environments, Prepared
from headrace.telemetry.logs import Log

HERE = Path(__file__).parent

# A server under test has a HOME of its own; what builds environments needs the user's settings, caches and Pythons.
TOOLS = {"HOME": str(Path.home())}


class Trained(NamedTuple):
    """A model that was made in another environment: its directory, that Python, and what it answers there."""

    path: Path
    python: str
    rows: list[list[float]]
    predictions: list[float]


def interpreter(version: str) -> str:
    """The version of an interpreter of this minor version, or a skip that CI allows."""
    try:
        return find_interpreter(version, (), os.environ).version
    except InterpreterMissing:
        pytest.skip(f"no Python {version} found")


def record(folder: Path, python: str, requirements: Iterable[str], build: Iterable[str] = ()) -> Path:
    """A directory that records an environment as a model does, and holds no model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{r}\n" for r in requirements), encoding="utf-8")
    lines = [f"python: {python}", "build_dependencies:", *(f"- {b}" for b in build), "dependencies:"]
    (folder / "python_env.yaml").write_text("\n".join([*lines, "- -r requirements.txt"]), encoding="utf-8")
    return folder


def wheel(folder: Path, name: str, version: str, requires: Iterable[str] = (), content: str = "") -> Path:
    """A wheel with one module in it, made in a millisecond: what is built of such needs no network."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/__init__.py", content)
        file.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"{name}/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def offline(wheels: Path, **more: str) -> dict[str, str]:
    """Variables with which uv finds these wheels, and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    cache = {"UV_CACHE_DIR": str(wheels.parent / "uv-cache"), "PIP_CONFIG_FILE": os.devnull}
    return {**kept, **cache, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), **more}


def log() -> tuple[Log, list[dict[str, Any]]]:
    """A logger, and the events that it is told."""
    events: list[dict[str, Any]] = []

    def keep(_: Any, level: str, event: MutableMapping[str, Any]) -> str:
        events.append({**event, "level": level})
        return ""

    return structlog.wrap_logger(structlog.ReturnLogger(), processors=[keep]), events


def prepare(
    home: Path,
    model: Path,
    policy: tree.EnvironmentPolicy = "exact",
    mismatch: tree.MismatchPolicy | None = None,
    *,
    environ: dict[str, str] | None = None,
    **settings: Any,
) -> Prepared:
    """What a server does for a model, from start to end."""
    environments = Environments(home, tree.Environments(**settings), os.environ if environ is None else environ)
    return asyncio.run(environments.prepare(model, policy, mismatch, log()[0]))


def train(home: Path, folder: Path, version: str, requirements: list[str], build: list[str]) -> Trained:
    """Build an environment, train a model in it and save it with the environment's own MLflow."""
    python = prepare(home, record(folder / "recorded", interpreter(version), requirements, build)).python
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    variables["MLFLOW_DISABLE_AGENT_HINT"] = "true"
    done = subprocess.run(
        [python, str(HERE / "train.py"), str(folder), *requirements],
        env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return Trained(folder / "model", python, answer["rows"], answer["predictions"])
