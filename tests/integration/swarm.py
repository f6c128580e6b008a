"""Constant load from many keep-alive connections on one event loop; knows which version each answer came from."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from array import array
from collections import Counter
from typing import Any, Self
from urllib.parse import urlsplit

import uvloop

from tests.integration.serving import until

_ANSWER = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\nheadrace-model: ([^\r]*)\r\n", re.DOTALL | re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Swarm:
    """Asks `url` on `clients` connections, one request at a time on each, `pause_s` after each answer.

    `expect` says which version must answer what is sent from then on; None: any may. `outcomes` counts (status, label),
    or (error, ""); `wrong` are answers of a version that was not expected. With `bin_s`, `latencies_s` holds every
    answer's latency by (bin since the start, label).
    """

    def __init__(
        self, url: str, body: Any, clients: int = 64, *, pause_s: float = 0.0, bin_s: float | None = None
    ) -> None:
        parts = urlsplit(url)
        data = json.dumps(body).encode()
        self.address = (parts.hostname or "", parts.port or 80)
        self.request = (
            f"POST {parts.path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        ).encode() + data
        self.outcomes: Counter[tuple[object, str]] = Counter()
        self.wrong: Counter[tuple[str, str]] = Counter()
        self.latencies_s: dict[tuple[int, str], array[float]] = {}
        self.bin_s = bin_s
        self.pause_s = pause_s
        self.expected: tuple[int, str | None] = (0, None)
        self.started_s = time.perf_counter()
        self.stopping = False
        self._clients = clients
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "a request was never answered"

    @property
    def answered(self) -> int:
        """How many answers and errors there were."""
        return sum(self.outcomes.copy().values())

    @property
    def failed(self) -> dict[tuple[object, str], int]:
        """Everything that was not answered with 200."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome[0] != 200}

    @property
    def labels(self) -> set[str]:
        """The versions that have answered."""
        return {label for status, label in self.outcomes if status == 200}

    def expect(self, label: str | None) -> None:
        """From now on nothing but `label` may answer what is sent; None: any may."""
        self.expected = (self.expected[0] + 1, label)

    def more(self, count: int = 200) -> None:
        """Wait until so many further requests were answered."""
        wanted = self.answered + count
        until(lambda: self.answered >= wanted, f"{count} further answers")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._all())

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._clients):
                tasks.create_task(self._one())

    async def _one(self) -> None:
        while not self.stopping:
            try:
                _, client = await asyncio.get_running_loop().create_connection(lambda: _Client(self), *self.address)
            except OSError as error:
                self.outcomes[repr(error), ""] += 1
                continue
            await client.ended


class _Client(asyncio.Protocol):
    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._sent_s = 0.0
        self._expected: tuple[int, str | None] = (0, None)
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not mark or length is None or len(body) < int(length[1]):
            return
        now_s = time.perf_counter()
        swarm = self.swarm
        found = _ANSWER.match(head + b"\r\n")
        status, label = (int(found[1]), found[2].decode()) if found else (int(head[9:12]), "")
        swarm.outcomes[status if status == 200 else (status, body.decode()), label] += 1
        expected = swarm.expected
        if expected[1] is not None and expected == self._expected and label != expected[1]:
            swarm.wrong[expected[1], label] += 1
        if swarm.bin_s is not None:
            key = (int((now_s - swarm.started_s) / swarm.bin_s), label)
            swarm.latencies_s.setdefault(key, array("f")).append(now_s - self._sent_s)
        self._buffer = b""
        self._waiting = False
        if swarm.pause_s:
            asyncio.get_running_loop().call_later(swarm.pause_s, self._ask)
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self.swarm.outcomes[f"connection ended: {exc!r}", ""] += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _ask(self) -> None:
        if self.swarm.stopping or self._transport.is_closing():
            self._transport.close()
            return
        self._waiting = True
        self._expected = self.swarm.expected
        self._sent_s = time.perf_counter()
        self._transport.write(self.swarm.request)
