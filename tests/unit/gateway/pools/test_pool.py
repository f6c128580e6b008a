"""A pool between connections in memory and workers on real sockets, all in one event loop: no process is started."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from headrace.core.protocol import messages
from headrace.gateway.exchange import Exchange, Source
from headrace.gateway.http.connection import Connection
from headrace.gateway.server import Gateway
from headrace_worker import wire
from tests.unit.gateway.wiretap import MemoryTransport

DEADLINE_S = 60.0


class Worker(asyncio.Protocol):
    """Keeps the frames that it is sent; answers when the test says so."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.reader = wire.FrameReader()
        self.frames: asyncio.Queue[tuple[int, wire.Batch]] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for frame in self.reader.feed(data):
            payload = bytearray(frame.payload)  # the reader's own is reused
            self.frames.put_nowait((frame.batch_id, wire.decode_batch(memoryview(payload))))

    async def frame(self) -> tuple[int, list[bytes]]:
        """The number and the bodies of the next frame."""
        number, batch = await asyncio.wait_for(self.frames.get(), DEADLINE_S)
        return number, [bytes(body) for body in batch.bodies]

    def answer(self, number: int, *bodies: bytes) -> None:
        answers = [wire.Answer(200, b"text/plain", body, 1) for body in bodies]
        self.transport.write(wire.encode_answers(number, answers, wire.Timing(1, 2, 3, 1)))


class Told:
    """A request log that keeps what it is told of answers."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, int, int, bytes]] = []

    def answered(
        self, _: Exchange, answer: wire.Answer, source: Source, request_id: bytes, now_s: float, cached: bytes
    ) -> None:
        assert answer.status == 200
        assert request_id
        assert now_s
        self.answers.append((source.frame_number, source.frame_requests, source.timing.predict_us, cached))

    def replied(self, *_: object) -> None:
        pass

    streamed = left = replied


class Transport(MemoryTransport):
    """Says that something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def write(self, data: Any) -> None:
        super().write(data)
        self.news.set()


class Client:
    """One connection."""

    def __init__(self, gateway: Gateway) -> None:
        self.transport = Transport()
        self.connection = Connection(gateway.port("m"))
        self.connection.connection_made(self.transport)

    def ask(self, body: bytes, extra: bytes = b"") -> None:
        head = b"POST /invocations HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n" % (extra, len(body))
        self.connection.data_received(head + body)

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body of the only answer."""
        await asyncio.wait_for(self.transport.news.wait(), DEADLINE_S)  # it is written in one piece
        found = re.fullmatch(rb"HTTP/1.1 (\d+) .*?\r\n\r\n(.*)", self.transport.written, re.DOTALL)
        assert found is not None
        return int(found[1]), bytes(found[2])


class Rig:
    """A gateway with one pool of so many workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reports: asyncio.Queue[messages.FromGateway] = asyncio.Queue()
        self.workers: list[Worker] = []
        self.servers: list[asyncio.Server] = []
        self.gateway = Gateway(asyncio.get_running_loop(), messages.Limits(), self.reports.put_nowait)

    async def serve(self, *names: str, **settings: Any) -> None:
        """Have these workers."""
        loop = asyncio.get_running_loop()
        refs = []
        for name in names:
            worker = Worker()
            path = str(self.directory / name)
            server = await loop.create_unix_server(lambda worker=worker: worker, path)  # type: ignore[misc]
            self.servers.append(server)
            self.workers.append(worker)
            refs.append(messages.WorkerRef(name, path))
        route = messages.Route(model="m", pool="p", **settings)
        pool = messages.Pool(key="p", model="m", label="m/1", mlflow_version="3", workers=tuple(refs))
        await self.gateway.apply(messages.Table(generation=1, routes=(route,), pools=(pool,)))

    async def close(self) -> None:
        """End everything, and see it end."""
        self.gateway.close()
        for server, worker in zip(self.servers, self.workers, strict=True):
            server.close()
            worker.transport.abort()
        await asyncio.sleep(0)

    def client(self) -> Client:
        return Client(self.gateway)

    def counted(self, name: str) -> float:
        return sum(value for found, _, value in self.gateway.stats() if found == name)


def run(test: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        with tempfile.TemporaryDirectory() as directory:
            rig = Rig(Path(directory))
            try:
                await test(rig)
            finally:
                await rig.close()

    asyncio.run(within())


def test_requests_that_meet_go_in_one_frame() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a")
        one, two = rig.client(), rig.client()
        one.ask(b"1")
        two.ask(b"2")
        number, bodies = await rig.workers[0].frame()
        assert bodies == [b"1", b"2"]
        rig.workers[0].answer(number, b"one", b"two")
        assert (await one.answer(), await two.answer()) == ((200, b"one"), (200, b"two"))
        assert rig.counted("headrace_request_seconds_count") == 2

    run(test)


def test_a_deadline_is_kept_while_nothing_else_happens() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a")
        client = rig.client()
        client.ask(b"1", b"Request-Timeout-Ms: 20\r\n")
        number, _ = await rig.workers[0].frame()
        status, body = await client.answer()
        assert (status, b"DEADLINE_EXCEEDED" in body) == (504, True)
        rig.workers[0].answer(number, b"late")  # is thrown away, and the worker takes the next
        client = rig.client()
        client.ask(b"2")
        number, bodies = await rig.workers[0].frame()
        assert bodies == [b"2"]
        rig.workers[0].answer(number, b"two")
        assert await client.answer() == (200, b"two")

    run(test)


def test_what_a_lost_worker_had_goes_to_another_once() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a", "b")
        client = rig.client()
        client.ask(b"1")
        await rig.workers[1].frame()  # the one that was connected last
        rig.workers[1].transport.abort()
        await rig.workers[0].frame()
        rig.workers[0].transport.abort()
        status, body = await client.answer()
        assert (status, b"WORKER_DIED" in body) == (500, True)
        assert (rig.counted("headrace_workers_lost_total"), rig.counted("headrace_retried_total")) == (2, 1)

    run(test)


def test_an_answer_that_nobody_asked_for_costs_the_worker_its_connection() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a")
        rig.workers[0].answer(7, b"surprise")
        report = await asyncio.wait_for(rig.reports.get(), DEADLINE_S)
        assert isinstance(report, messages.WorkerBroke)

    run(test)


def test_a_full_queue_turns_away() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a", queue=messages.QueueOptions(max_rows=1))
        with_worker, waits, too_many = rig.client(), rig.client(), rig.client()
        with_worker.ask(b"1")
        number, _ = await rig.workers[0].frame()
        waits.ask(b"2")
        too_many.ask(b"3")
        status, body = await too_many.answer()
        assert (status, b"OVERLOADED" in body) == (503, True)
        rig.workers[0].answer(number, b"one")
        number, bodies = await rig.workers[0].frame()
        assert bodies == [b"2"]

    run(test)


def test_the_log_is_told_of_the_frame_that_an_answer_came_in() -> None:
    async def test(rig: Rig) -> None:
        log = rig.gateway.state.recording = Told()
        await rig.serve("a", cache=messages.CacheOptions())
        same, too, other = rig.client(), rig.client(), rig.client()
        same.ask(b"1")
        too.ask(b"1")
        other.ask(b"2")
        number, bodies = await rig.workers[0].frame()
        assert bodies == [b"1", b"2"]
        rig.workers[0].answer(number, b"one", b"two")
        assert await other.answer() == (200, b"two")
        kept = rig.client()
        kept.ask(b"1")
        assert await kept.answer() == (200, b"one")
        in_frame = (number, 2, 2)
        expected = [(*in_frame, b"miss"), (*in_frame, b"coalesced"), (*in_frame, b"miss"), (0, 0, 0, b"hit")]
        assert log.answers == expected

    run(test)


def test_a_client_that_has_gone_is_asked_nothing_for() -> None:
    async def test(rig: Rig) -> None:
        await rig.serve("a", cache=messages.CacheOptions())
        first, gone, stays = rig.client(), rig.client(), rig.client()
        first.ask(b"1")
        number, _ = await rig.workers[0].frame()
        gone.ask(b"2")
        stays.ask(b"3")
        gone.connection.connection_lost(None)
        rig.workers[0].answer(number, b"one")
        assert (await rig.workers[0].frame())[1] == [b"3"]
        assert rig.counted("headrace_dropped_total") == 1

    run(test)
