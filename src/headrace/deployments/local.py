"""One model served in the foreground: `mlflow deployments run-local -t headrace`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

_OPTIONS = {
    "port": "--port", "replicas": "--workers", "host": "--host", "timeout_s": "--timeout",
    "env_manager": "--env-manager", "admin_port": "--admin-port",
}  # fmt: skip


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Serve a model until it is told to end. Raises MlflowException for what cannot be served.

    MLflow has the target read before, and does not hand it on, against what its own base module says.
    """
    if flavor not in {None, "python_function"}:
        raise MlflowException(f"flavor {flavor!r}: headrace serves python_function", INVALID_PARAMETER_VALUE)
    command = [sys.executable, "-m", "headrace", "serve", "--model-uri", model_uri, "--name", name]
    for key, value in (config or {}).items():
        if key not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise MlflowException(f"{key}: run-local takes {known}; more in a headrace.yaml", INVALID_PARAMETER_VALUE)
        command += [_OPTIONS[key], str(value)]
    with subprocess.Popen(command) as serving:
        while serving.poll() is None:
            try:
                serving.wait()
            except KeyboardInterrupt:  # the terminal has told headrace as well: it finishes what is in flight
                continue
    if serving.returncode:
        raise MlflowException(f"headrace ended with exit code {serving.returncode}: see what it said above")
