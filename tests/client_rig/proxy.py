"""A proxy between a client and a server, on real sockets, that does to each request what a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

PATIENCE_S = 150.0


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of passing.

    `reset`: the connection is reset, before the server sees the request or (`after`) when it has answered.
    `status`: the proxy answers itself. `keep_bytes`: only so much of the answer's body arrives. `hold_s`: the answer
    waits, or for ever (until the client leaves) with infinity.
    """

    reset: bool = False
    after: bool = False
    status: int | None = None
    headers: str = ""
    body: bytes = b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "by the proxy"}'
    keep_bytes: int | None = None
    hold_s: float = 0.0


PASS = Fault()
HANG = float("inf")


@dataclass
class Seen:
    """A request as the proxy saw it; header names in lower case."""

    line: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Proxy:
    """Stands at `url` for the server at `target`; each request takes the next of `faults`, and passes without one."""

    def __init__(self, target: str, faults: list[Fault] | None = None, *, always: Fault = PASS) -> None:
        parts = urlsplit(target)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.faults = deque(faults or [])
        self.always = always
        self.seen: list[Seen] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    @contextlib.contextmanager
    def _held(self, one: socket.socket) -> Iterator[socket.socket]:
        one.settimeout(PATIENCE_S)
        with self._lock:
            self._open.add(one)
        try:
            yield one
        finally:
            with self._lock:
                self._open.discard(one)
            one.close()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), self._held(client):
            rest = b""
            while (request := _read(client, rest)) is not None:
                head, body, rest = request
                lines = head.decode("latin-1").split("\r\n")
                named = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                with self._lock:
                    self.seen.append(Seen(lines[0], named, body))
                    fault = self.faults.popleft() if self.faults else self.always
                if not self._answer(client, fault, head, body):
                    return

    def _answer(self, client: socket.socket, fault: Fault, head: bytes, body: bytes) -> bool:
        """Whether the client's connection stays open."""
        if fault.reset and not fault.after:
            _reset(client)
            return False
        if fault.status is None:
            with self._held(socket.create_connection(self._upstream, PATIENCE_S)) as upstream:
                upstream.sendall(head + b"\r\n\r\n" + body)
                answer = _read(upstream, b"")
        else:
            kind = "" if "content-type:" in fault.headers else "content-type: application/json\r\n"
            line = f"HTTP/1.1 {fault.status} Told\r\n{kind}{fault.headers}"
            answer = (f"{line}content-length: {len(fault.body)}".encode("latin-1"), fault.body, b"")
        if answer is None:
            return False
        if fault.hold_s and _left(client, fault.hold_s):
            return False
        if fault.reset:
            _reset(client)
            return False
        if fault.keep_bytes is not None:
            client.sendall(answer[0] + b"\r\n\r\n" + answer[1][: fault.keep_bytes])
            return False
        client.sendall(answer[0] + b"\r\n\r\n" + answer[1])
        return True


def _read(one: socket.socket, data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(head without its empty line, body, what follows) of one message with a Content-Length; None at the end."""
    while b"\r\n\r\n" not in data:
        more = one.recv(65536)
        if not more:
            return None
        data += more
    head, _, data = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(data) < length:
        more = one.recv(65536)
        if not more:
            return None
        data += more
    return head, data[:length], data[length:]


def _left(client: socket.socket, hold_s: float) -> bool:
    """Wait for `hold_s`; True as soon as the client closes."""
    client.settimeout(None if hold_s == HANG else hold_s)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    finally:
        client.settimeout(PATIENCE_S)


def _reset(one: socket.socket) -> None:
    """Close with RST instead of FIN."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
