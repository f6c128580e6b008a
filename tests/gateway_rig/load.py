"""Requests that wait where a test wants them to, and clients that ask all the time."""

from __future__ import annotations

import threading
from typing import Self

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, Reply, post
from tests.gateway_rig.rig import GatewayRig, StubWorker, wait_until


def waiting(rig: GatewayRig, name: str) -> tuple[bytes, str]:
    """A request that keeps its worker until the gate is opened: (bytes of the request, path of the gate)."""
    gate = rig.directory / name
    return post(b"!wait %b" % str(gate).encode()), str(gate)


def open_gate(path: str) -> None:
    with open(path, "w"):  # noqa: PTH123 - a gate is a file that exists
        pass


def hold(rig: GatewayRig, worker: StubWorker, client: RawClient, name: str = "gate") -> str:
    """Make `worker` busy until the returned gate is opened."""
    request, gate = waiting(rig, name)
    before = len(worker.frames())
    client.send(request)
    wait_until(lambda: len(worker.frames()) > before, "the worker is busy")
    return gate


class Load:
    """Clients that ask again and again, each waiting for its answer; `bad` is every answer that is not right."""

    def __init__(self, rig: GatewayRig, clients: int = 8) -> None:
        self._address = rig.address()
        self._done = threading.Event()
        self.bad: list[Reply | str] = []
        self.answered = [0] * clients
        self.labels: set[str] = set()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.flow()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def flow(self, each: int = 20) -> None:
        """Return when every client has been answered `each` times more."""
        goal = [n + each for n in self.answered]
        wait_until(
            lambda: self.bad or all(n >= g for n, g in zip(self.answered, goal, strict=True)),
            "all clients are answered",
        )

    def _run(self, index: int) -> None:
        client = RawClient(self._address)
        while not self._done.is_set():
            body = b'"%d-%d"' % (index, self.answered[index])
            try:
                reply = client.ask(post(body))
            except OSError as error:
                self.bad.append(repr(error))
                return
            if reply.status != 200 or reply.body != b'{"predictions": [%b]}' % body:
                self.bad.append(reply)
                return
            self.labels.add(reply.headers["headrace-model"])
            self.answered[index] += 1
            if reply.headers.get("connection") == "close":
                client.socket.close()
                try:
                    client = RawClient(self._address)
                except ConnectionRefusedError:
                    return
        client.socket.close()


def counted(stats: messages.Stats, name: str, *values: str) -> float:
    """The sum of a counter, of the series with these labels."""
    return sum(v for of, labels, v in stats.values if of == name and {*values} <= {label for _, label in labels})
