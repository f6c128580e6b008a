"""MLflow's REST API and its artifact proxy, as slow, endless or false as they are told to be."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
BLOCK = b"x" * 65536


class Request(BaseHTTPRequestHandler):
    """One request. `asked` is 'model', 'version', 'uri', 'search', 'list' or 'file'."""

    protocol_version = "HTTP/1.1"
    registry: HostileRegistry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.rest = unquote(parts.path.removeprefix(FILES).strip("/"))
        if parts.path.startswith(FILES):
            asked = "file" if self.rest else "list"
        else:
            asked = {
                "registered-models/get": "model",
                "model-versions/get": "version",
                "model-versions/get-download-uri": "uri",
                "registered-models/search": "search",
            }.get(parts.path.removeprefix(API), "other")
        self.registry.asked[asked] += 1
        with contextlib.suppress(OSError):
            self.registry.behaviours.get(asked, TRUTHFUL[asked])(self)

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer as a server should."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def say(self, document: Any) -> None:
        """Answer with JSON."""
        self.answer(json.dumps(document).encode())

    def begin(self, **headers: str) -> None:
        """Begin an answer that does not end before the connection does."""
        self.close_connection = True
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Behaviour = Callable[[Request], None]


def model(request: Request) -> None:
    """The registered model, which has one alias: production."""
    request.say({"registered_model": _model(request.query["name"], request.registry.version)})


def _model(name: str, version: str) -> dict[str, Any]:
    aliases = [{"alias": "production", "version": version}]
    return {"name": name, "creation_timestamp": 1, "last_updated_timestamp": 1, "aliases": aliases}


def version(request: Request) -> None:
    """One version."""
    asked = {name: request.query[name] for name in ("name", "version")}
    request.say({"model_version": {**asked, "status": "READY", "run_id": "", "creation_timestamp": 1}})


def uri(request: Request) -> None:
    """Where a version's files are: in this registry."""
    request.say({"artifact_uri": f"mlflow-artifacts:/{request.query['version']}"})


def search(request: Request) -> None:
    """Every registered model."""
    request.say({"registered_models": [_model(name, request.registry.version) for name in request.registry.names]})


def listing(request: Request) -> None:
    """What a directory holds."""
    inner = request.query.get("path", "").partition("/")[2]
    folder = request.registry.directory / inner
    if not folder.is_dir():
        request.say({"files": []})
        return
    found = [{"path": one.name, "is_dir": one.is_dir(), "file_size": one.stat().st_size} for one in folder.iterdir()]
    request.say({"files": found})


def file(request: Request) -> None:
    """A file."""
    request.answer((request.registry.directory / request.rest.partition("/")[2]).read_bytes())


def other(request: Request) -> None:
    """What this registry does not know."""
    request.answer(b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "no"}', 404)


TRUTHFUL: dict[str, Behaviour] = {
    "model": model,
    "version": version,
    "uri": uri,
    "search": search,
    "list": listing,
    "file": file,
    "other": other,
}


def never(request: Request) -> None:
    """No answer, until the registry closes."""
    request.close_connection = True
    request.registry.closing.wait()


def one_byte_a_second(request: Request) -> None:
    """A byte now and then, so that no time-out of a socket is ever met."""
    request.begin()
    while not request.registry.closing.wait(request.registry.pause_s):
        request.wfile.write(b" ")


def late(request: Request) -> None:
    """The truth, after a second and a half."""
    request.registry.closing.wait(1.5)
    model(request)


def headers_without_end(request: Request) -> None:
    """The same before there is a body."""
    request.close_connection = True
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not request.registry.closing.wait(request.registry.pause_s):
        request.wfile.write(b"x")


def endless(request: Request) -> None:
    """A body as fast as it is read, without end."""
    request.begin()
    while not request.registry.closing.is_set():
        request.wfile.write(BLOCK)
        request.registry.sent_bytes += len(BLOCK)


def round_and_round(request: Request) -> None:
    """A redirect to itself."""
    request.answer(b"", 302, Location=request.path)


def elsewhere(request: Request) -> None:
    """A redirect to where nobody listens."""
    request.answer(b"", 307, Location="http://127.0.0.1:1/")


def saying(body: bytes, status: int = 200) -> Behaviour:
    """Always the same answer."""
    return lambda request: request.answer(body, status)


class Server(ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class HostileRegistry:
    """Serves the model in `directory` as every version of every name; `behaviours` says what is answered otherwise."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None = None) -> None:
        self.directory = directory
        self.version = "1"
        self.names = ["pair"]
        self.behaviours: dict[str, Behaviour] = {}
        self.asked: Counter[str] = Counter()
        self.sent_bytes = 0
        self.pause_s = 0.1
        self.closing = threading.Event()
        handler = type("Handler", (Request,), {"registry": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.uri = f"http{'s' if tls else ''}://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def recover(self) -> None:
        """Be what a registry should be, from the next request on; what hangs, hangs on."""
        self.behaviours = {}

    def close(self) -> None:
        """End."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def hostile_registry(directory: Path, tls: ssl.SSLContext | None = None) -> Iterator[HostileRegistry]:
    """A hostile registry, until the end of the block."""
    made = HostileRegistry(directory, tls)
    try:
        yield made
    finally:
        made.close()
