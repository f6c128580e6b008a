"""A model in this process, behind the same protocol as a served one.

A request's body goes through what a worker does with it, without the server around. So the two answer alike, down to
types and error codes, because they are the same code.

mlflow, and what the model needs, are imported when the model is loaded: this process must have them.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.client.errors import BadRequest, ClientError, ModelError, Unavailable
from headrace.client.replies import Failure, Prediction, Reply
from headrace.core.errors import UsageError
from headrace.core.identity import parse_model_uri
from headrace_worker import scoring, wire

_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"


class LocalModel:
    """One loaded model. Safe for threads: it scores one request at a time."""

    def __init__(self, uri: str, tracking_uri: str | None = None) -> None:
        """Load it; raises BadRequest (no such model), Unavailable (no answer of the registry), ModelError (no loading).

        What was downloaded is in a temporary directory until `close`; a path is loaded where it is.
        """
        self.uri = uri
        self._lock = threading.Lock()
        self._downloads = contextlib.ExitStack()
        try:
            path = self._bring(uri, tracking_uri)
            with _as_a_server():
                self._scorer = scoring.load(path, scoring.ScoringOptions(max_rows=1))
        except scoring.LoadError as error:
            self._downloads.close()
            raise ModelError(f"the model cannot be loaded here: {error}") from error
        except BaseException:
            self._downloads.close()
            raise
        self.closed = False

    @property
    def typed(self) -> bool:
        """Whether the model is made of type hints: then it takes rows below ``inputs`` only."""
        return self._scorer.oracle.is_type_hint

    def ask(self, body: bytes) -> Prediction:
        """Score one request; the value is the answer's body. Raises the error that the same answer over HTTP would."""
        begun_s = time.monotonic()
        self._check_open()
        with self._lock, _as_a_server():
            (answer,), _, _ = self._scorer.score([wire.head(b"application/json")], b"\0", [memoryview(body)])
        reply = _reply(answer)
        if reply.status != 200:
            raise self._error(reply)
        return Prediction(reply.body, tries=1, took_s=time.monotonic() - begun_s, address=self.uri)

    def stream(self, body: bytes) -> Iterator[bytes] | Prediction:
        """Start a stream: server-sent events, or one answer of a model that does not stream."""
        self._check_open()
        head = wire.head(b"application/json", accept=b"text/event-stream")
        if not self._scorer.wants_stream(head, memoryview(body)):
            return self.ask(body)
        with self._lock, _as_a_server():
            started = self._scorer.stream(head, memoryview(body))
        if isinstance(started, wire.Answer):
            raise self._error(_reply(started))
        return self._chunks(started)

    def forked(self) -> None:
        """Take note that this is a child process: who held the lock in the parent is not here to give it up."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the model and of what was downloaded for it. May be called twice."""
        self.closed = True
        self._downloads.close()

    def _chunks(self, events: Iterator[bytes]) -> Iterator[bytes]:
        # One context for all steps, whichever thread asks for them: MLflow sets a context variable around a stream.
        context = contextvars.copy_context()
        from headrace_worker.scoring import ToldInStream

        try:
            while True:
                with self._lock, _as_a_server(), contextlib.suppress(ToldInStream):
                    chunk = None
                    chunk = context.run(next, events, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                with self._lock:
                    context.run(close)

    def _bring(self, uri: str, tracking_uri: str | None) -> str:
        try:
            kind = parse_model_uri(uri).kind
        except UsageError as error:
            raise BadRequest(str(error)) from None
        if kind == "path" and "://" not in uri:
            path = Path(uri).expanduser()
            if not (path / "MLmodel").is_file():
                raise BadRequest(f"{uri}: no model is there (a directory with a file MLmodel)")
            return str(path)
        directory = self._downloads.enter_context(tempfile.TemporaryDirectory(prefix="headrace-"))
        return _download(uri, directory, tracking_uri)

    def _check_open(self) -> None:
        if self.closed:
            raise Unavailable("the client is closed")

    def _error(self, reply: Reply) -> ClientError:
        return Failure.of_reply(reply, 0.0).error(tries=1, address=self.uri)


def _download(uri: str, directory: str, tracking_uri: str | None) -> str:
    """Copy a model's files to `directory`: a registry's own directory is not written to."""
    try:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise Unavailable(f"a model in this process needs mlflow: {error}") from error
    try:
        if tracking_uri is None:
            return str(download_artifacts(artifact_uri=uri, dst_path=directory))
        source = _source(uri, tracking_uri)
        return str(download_artifacts(artifact_uri=source, dst_path=directory, tracking_uri=tracking_uri))
    except MlflowException as error:
        code = str(error.error_code)
        unknown = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
        raise (BadRequest if code in unknown else Unavailable)(f"{uri}: {error.message}", code=code) from error
    except Exception as error:
        raise Unavailable(f"{uri}: {type(error).__name__}: {error}") from error


def _source(uri: str, tracking_uri: str) -> str:
    """Where the files of a registered model are.

    MLflow's own download looks for ``models:/`` in the registry of the process, whatever it is told.
    """
    if not uri.startswith("models:/"):
        return uri
    from mlflow import MlflowClient
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    client = MlflowClient(tracking_uri, tracking_uri)
    parsed = parse_model_uri(uri)
    if parsed.kind == "logged_model":
        return str(client.get_logged_model(parsed.selector).artifact_location)
    find: Any = get_model_name_and_version  # untyped
    return str(client.get_model_version_download_uri(*find(client, uri)))


def _reply(answer: wire.Answer) -> Reply:
    return Reply(answer.status, {"content-type": answer.content_type.decode("latin-1")}, answer.body)


@contextlib.contextmanager
def _as_a_server() -> Iterator[None]:
    """MLflow converts inputs of typed models differently where it serves, and asks the environment whether it does."""
    before = os.environ.get(_SERVING)
    os.environ[_SERVING] = "true"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_SERVING, None)
        else:
            os.environ[_SERVING] = before
