"""Registries that tests use: built once in a run, and a copy for each process that runs tests."""

import fcntl
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
    (copy / "artifacts").symlink_to(built / "artifacts")
    return f"sqlite:///{copy / 'mlflow.db'}"
