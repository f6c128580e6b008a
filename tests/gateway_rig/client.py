"""A client that says exactly what a test wants said: raw bytes out, whole answers in."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

DEADLINE_S = 60.0


class Reply(NamedTuple):
    """One answer; header names are in lower case. `interim` is how many 1xx answers came before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: int = 0

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        return msgspec.json.decode(self.body, type=dict[str, object])


def post(body: bytes, *headers: str, path: str = "/invocations", version: str = "1.1") -> bytes:
    """The bytes of a POST."""
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: test",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: test", *headers, "", ""]).encode()


class RawClient:
    """One connection, from the address `source` if one is given; with `tls` the server is called localhost."""

    def __init__(
        self, address: tuple[str, int], source: str | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection(address, DEADLINE_S, (source, 0) if source is not None else None)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def ask(self, data: bytes) -> Reply:
        """Send a request and read its answer."""
        self.send(data)
        return self.reply()

    def reply(self, *, head_only: bool = False) -> Reply:
        """Read the next final answer."""
        interim = 0
        while True:
            status, headers = self.head()
            if status >= 200:
                break
            interim += 1
        if head_only:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            body = self.rest()
        return Reply(status, headers, body, interim)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header twice: {lines}"
        return int(lines[0].split(" ")[1]), headers

    def chunk(self) -> bytes:
        """Read one chunk; empty for the last."""
        while b"\r\n" not in self._buffer:
            self._more()
        size, self._buffer = self._buffer.split(b"\r\n", 1)
        data = self._exactly(int(size, 16))
        assert self._exactly(2) == b"\r\n"
        return data

    def rest(self) -> bytes:
        """Read until the server closes."""
        while data := self.socket.recv(1 << 16):
            self._buffer += data
        data, self._buffer = self._buffer, b""
        return data

    def closed(self) -> bool:
        """Whether the server closes without saying anything else."""
        try:
            return self.rest() == b""
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        assert data, f"the server closed in the middle of an answer: {self._buffer!r}"
        self._buffer += data
