"""Registries that tests use: built once in a run, and a copy for each process that runs tests."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def registry(factory: pytest.TempPathFactory, script: Path) -> str:
    """The tracking URI of this process's own copy of the registry that `script` builds.

    The copy is of the database, where aliases move and versions are added. The artifacts, never changed, are shared.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # each worker has a folder of its own in it
    built = run / f"built-{script.parent.name}"
    with built.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built / "done").exists():
            shutil.rmtree(built, ignore_errors=True)
            built.mkdir()
            command = [sys.executable, str(script), str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
            assert done.returncode == 0, done.stderr
            (built / "done").touch()
    copy = factory.mktemp(script.parent.name)
    shutil.copyfile(built / "mlflow.db", copy / "mlflow.db")
    for name in ("artifacts", "places.json"):
        (copy / name).symlink_to(built / name)
    return f"sqlite:///{copy / 'mlflow.db'}"


def place(registry: str, version: str) -> str:
    """The directory of a version such as `mood/1`: served from there, it needs no agent that imports MLflow."""
    places: dict[str, str] = json.loads(Path(registry.removeprefix("sqlite:///")).with_name("places.json").read_text())
    return places[version].removeprefix("file://")
