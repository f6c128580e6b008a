"""A real `mlflow server` with its artifact proxy, that a test may kill and start again on the same port."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.serving import ask, until
from tests.ports import free_port
from tests.processes import family, tied

_SCRIPT = Path(__file__).with_name("build_pair.py")
_PATIENCE_S = 150.0
_ENVIRON = {
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a dozen processes that no test needs
    "DO_NOT_TRACK": "true",
    # Webhooks to the loopback, which are refused otherwise, and a made-up key for their secrets.
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",  # a webhook counts at once, and one that was deleted no longer
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(b"0" * 32).decode(),
}


class MlflowServer:
    """`backend` is the store's URI; artifacts are kept below `directory` and only ever handed out by the server."""

    def __init__(self, directory: Path, backend: str, environ: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._environ = environ or {}
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--backend-store-uri", backend, "--serve-artifacts", "--workers", "1"]
        self._command += ["--artifacts-destination", str(directory / "artifacts")]
        self.start()

    def start(self) -> None:
        """Start it; returns once it answers."""
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                tied(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ENVIRON, **self._environ},
                cwd=self._directory,
                start_new_session=True,
            )
        until(lambda: ask(f"{self.uri}/health").status == 200, "mlflow server to answer", _PATIENCE_S)

    def kill(self) -> None:
        """End it with everything it has started, as a crash would."""
        for pid in [self._process.pid, *(process.pid for process in family(self._process.pid))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def build_pair(self) -> None:
        """Register `pair`, its artifacts sent through the proxy."""
        done = subprocess.run(
            [sys.executable, str(_SCRIPT), self.uri],
            capture_output=True, text=True, check=False, timeout=_PATIENCE_S, env={**os.environ, **self._environ},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def mlflow_server(directory: Path, backend: str | None = None) -> Iterator[MlflowServer]:
    """A server with `pair` in it; `backend` None: a sqlite file."""
    directory.mkdir(parents=True, exist_ok=True)
    one = MlflowServer(directory, backend or f"sqlite:///{directory / 'mlflow.db'}")
    try:
        one.build_pair()
        yield one
    finally:
        one.kill()
