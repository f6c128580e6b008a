"""Moves aliases through MLflow's own client, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

_MOVER = """
import sys, warnings
warnings.filterwarnings("ignore")
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    name, alias, version = line.split()
    if version == "-":
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, version)
    print("moved", flush=True)
"""


class Registry:
    """A registry whose aliases a test moves; `uri` is what headrace is given."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MOVER, uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def point(self, name: str, alias: str, version: str) -> None:
        """Set an alias; ``-`` deletes it. Returns when the registry has it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name} {alias} {version}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "moved\n"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
