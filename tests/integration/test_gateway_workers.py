"""What becomes of requests when workers die, hang, are replaced or are too few, with real processes on both sides."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Self

import msgspec
import psutil
import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, Reply, get, post
from tests.gateway_rig.rig import GatewayRig, StubWorker, wait_until


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        yield rig


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


def test_before_a_model_serves_the_reason_is_said(rig: GatewayRig) -> None:
    rig.table([messages.Route(model="topic", reason="building its environment")], [])
    with rig.client() as client, rig.client(None) as shared:
        for c, request in (
            (client, get("/ping")),
            (client, get("/health")),
            (client, post(b"1")),
            (client, get("/version")),
            (shared, get("/ping")),
            (shared, get("/models/topic/ping")),
        ):
            reply = c.ask(request)
            assert reply.status == 503, request
            assert reply.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
            assert "building its environment" in str(reply.json()["message"])
            assert int(reply.headers["retry-after"]) >= 1
        assert shared.ask(get("/models")).body == b'[{"name":"topic","label":null,"ready":false,"failing":false}]'
        client.send(get("/ping", method="HEAD"))
        assert client.reply(head_only=True).status == 503


def test_health_is_answered_while_every_worker_is_busy(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as busy, rig.client() as client:
        gate = hold(rig, worker, busy)
        assert client.ask(get("/ping")).status == 200
        open_gate(gate)
        assert busy.reply().status == 200


def test_what_waits_for_a_worker_travels_together(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(20)]
        gate = hold(rig, worker, clients[0])
        for i, client in enumerate(clients[1:]):
            client.send(post(b"%d" % i))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 19, "all wait")
        open_gate(gate)
        assert clients[0].reply().status == 200
        for i, client in enumerate(clients[1:]):
            assert client.reply().body == b'{"predictions": [%d]}' % i
    assert sorted(worker.frames()[1], key=int) == [str(i) for i in range(19)]


def test_a_pool_that_may_not_be_merged_gets_one_request_a_frame(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.table([messages.Route(model="topic", pool="1")], [rig.pool("1", worker, mergeable=False)])
    with rig.client() as busy, rig.client() as client:
        gate = hold(rig, worker, busy)
        client.send(post(b"1") + post(b"2") + post(b"3"))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 3, "all wait")
        open_gate(gate)
        assert [client.reply().status for _ in range(3)] == [200] * 3
    assert worker.frames()[1:] == [["1"], ["2"], ["3"]]


def test_a_pool_whose_worker_will_not_merge_any_more_gets_one_request_a_frame(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as busy, rig.client() as client:
        busy.send(post(b"!unmergeable"))
        busy.reply()
        gate = hold(rig, worker, busy)
        client.send(post(b"1") + post(b"2"))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 2, "all wait")
        open_gate(gate)
        assert [client.reply().status for _ in range(2)] == [200] * 2
    assert worker.frames()[-2:] == [["1"], ["2"]]


def test_a_client_that_is_gone_never_reaches_a_worker(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as busy, rig.client() as stays:
        gate = hold(rig, worker, busy)
        for _ in range(10):
            with rig.client() as leaves:
                leaves.send(post(b"leaves"))
        stays.send(post(b"stays"))
        wait_until(lambda: rig.stats()["headrace_connections_total"] == 12, "the gateway has seen them all")
        wait_until(lambda: rig.stats()["headrace_connections_open"] == 2, "the gateway knows that they are gone")
        open_gate(gate)
        assert stays.reply().status == 200
    assert worker.bodies()[1:] == ["stays"]


def test_a_worker_killed_in_the_middle_of_a_batch_costs_no_client_anything(rig: GatewayRig) -> None:
    first, second = rig.worker("w1"), rig.worker("w2")
    rig.serve(first, second)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(10)]
        gates = [hold(rig, second, clients[0], "g0"), hold(rig, first, clients[1], "g1")]
        for client in clients[2:]:
            client.send(post(b"1"))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 8, "the others wait")
        first.kill()
        assert rig.wait_for(messages.WorkerLost) == messages.WorkerLost("w1", 1)
        for gate in gates:
            open_gate(gate)
        assert [client.reply().status for client in clients] == [200] * 10
    assert rig.stats()["headrace_retried_total"] == 1


def test_kill_under_load_with_a_replacement(rig: GatewayRig) -> None:
    first, second = rig.worker("w1", "--fixed-ms", "1"), rig.worker("w2", "--fixed-ms", "1")
    rig.serve(first, second)
    with Load(rig) as load:
        first.kill()
        load.flow()
        third = rig.worker("w3")
        rig.serve(second, third)
        load.flow()
        second.kill()
        load.flow()
    assert load.bad == []


def test_a_request_that_kills_workers_hurts_nobody_else(rig: GatewayRig) -> None:
    workers = [rig.worker(f"w{i}") for i in range(3)]
    rig.serve(workers[0])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(12)]
        gate = hold(rig, workers[0], clients[0])
        for i, client in enumerate(clients[1:]):
            client.send(post(b"!die" if i == 5 else b"%d" % i))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 11, "all wait")
        open_gate(gate)
        assert clients[0].reply().status == 200
        rig.wait_for(messages.WorkerLost, lambda lost: lost.in_flight == 11)
        rig.serve(workers[1], workers[2])
        for i, client in enumerate(clients[1:]):
            reply = client.reply()
            if i == 5:
                assert (reply.status, reply.json()["error_code"]) == (500, "WORKER_DIED")
            else:
                assert reply.body == b'{"predictions": [%d]}' % i
    # A dead process may be collected a moment after its connection ended.
    wait_until(lambda: [worker.process.poll() for worker in workers].count(None) == 1, "two workers to have ended")


def test_requests_wait_for_a_replacement_and_health_says_so(rig: GatewayRig) -> None:
    first = rig.worker("w1")
    rig.serve(first)
    first.kill()
    rig.wait_for(messages.WorkerLost)
    rig.table([messages.Route(model="topic", pool="1", reason="its worker ended")], [rig.pool("1")])
    with rig.client() as client, rig.client() as probe:
        client.send(post(b"1"))
        reply = probe.ask(get("/ping"))
        assert (reply.status, "its worker ended" in str(reply.json()["message"])) == (503, True)
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 1, "the request waits")
        rig.serve(rig.worker("w2"))
        assert client.reply().status == 200


def test_a_hung_worker_is_reported_and_left(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, timeout_s=0.4)
    with rig.client() as client:
        reply = client.ask(post(b"!hang"))
        assert (reply.status, reply.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
        assert "Request processing time exceeded limit" in str(reply.json()["message"])
        assert rig.wait_for(messages.WorkerHung).worker == "w1"
        # The next table still names it, for the supervisor has not killed it yet: nothing is sent to it.
        rig.serve(worker, timeout_s=10.0)
        client.send(post(b"next"))
        rig.serve(worker, rig.worker("w2"), timeout_s=10.0)
        assert client.reply().body == b'{"predictions": [next]}'
    assert worker.bodies() == ["!hang"]


def test_deadlines_hold_while_waiting_and_while_working(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as first, rig.client() as second, rig.client() as third:
        request, gate = waiting(rig, "gate")
        first.send(request.replace(b"Host", b"Request-Timeout-Ms: 300\r\nHost"))
        wait_until(worker.bodies, "the worker is busy")
        second.send(post(b"late", "Request-Timeout-Ms: 100"))
        third.send(post(b"patient"))
        assert [second.reply().status, first.reply().status] == [504, 504]
        open_gate(gate)
        assert third.reply().status == 200
    assert "late" not in worker.bodies()
    assert rig.stats()["headrace_deadline_exceeded_total"] == 2
    assert not any(isinstance(message, messages.WorkerHung) for message in rig.received)


def test_overload_is_shed_with_a_time_to_come_back(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, queue=messages.QueueOptions(max_rows=5, max_bytes=10_000), errors="strict")
    with rig.client() as busy, rig.client() as client:
        gate = hold(rig, worker, busy)
        client.send(b"".join(post(b"%d" % i) for i in range(5)))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 5, "the queue is full")
        with rig.client() as other:
            reply = other.ask(post(b"1", "X-Request-Id: me"))
            assert (reply.status, reply.json()["error_code"]) == (503, "OVERLOADED")
            assert reply.json()["request_id"] == "me"
            assert 1 <= int(reply.headers["retry-after"]) <= 30
        open_gate(gate)
        assert [client.reply().status for _ in range(5)] == [200] * 5
        assert client.ask(post(b"x" * 9_000)).status == 200


def test_strict_errors_carry_the_request_id(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    for errors, body in (
        ("mlflow", b'{"error_code": "BAD_REQUEST"}'),
        ("strict", b'{"error_code": "BAD_REQUEST", "request_id": "a\\"b\\\\"}'),
    ):
        rig.serve(worker, errors=errors)
        with rig.client() as client:
            assert client.ask(post(b"!error", 'X-Request-Id: a"b\\')).body == body
            assert client.ask(post(b"!status 422", "X-Request-Id: a")).body == b'{"status": 422}'


@pytest.mark.parametrize(
    ("order", "reason"),
    [("!garbage", "a frame of 1 bytes"), ("!status 99", "status 99"), ("!status 65535", "status 65535")],
)
def test_nonsense_from_a_worker_ends_the_connection_to_it(rig: GatewayRig, order: str, reason: str) -> None:
    bad, worse = rig.worker("w1"), rig.worker("w2")
    rig.serve(bad)
    with rig.client() as client, rig.client() as other:
        client.send(post(order.encode()))
        told = rig.wait_for(messages.WorkerBroke)
        assert (told.worker, reason in told.reason) == ("w1", True), told
        rig.wait_for(messages.WorkerLost)
        # The next table still names it, for the supervisor has not killed it yet: nothing is sent to it.
        rig.serve(bad, worse)
        reply = client.reply()
        assert (reply.status, reply.json()["error_code"]) == (500, "WORKER_DIED")
        rig.serve(bad, worse, rig.worker("w3"))
        assert other.ask(post(b"1")).status == 200
    assert bad.bodies() == worse.bodies() == [order]


def test_a_worker_is_not_blamed_while_the_gateway_has_no_descriptors(rig: GatewayRig) -> None:
    first = rig.worker("w1")
    rig.serve(first)
    with rig.client() as client:
        assert client.ask(post(b"1")).status == 200
        gateway = psutil.Process(rig.process.pid)
        before = gateway.rlimit(psutil.RLIMIT_NOFILE)
        gateway.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
        rig.serve(rig.worker("w2"))
        client.send(post(b"2"))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 1, "the request waits for the new worker")
        gateway.rlimit(psutil.RLIMIT_NOFILE, before)
        assert client.reply().body == b'{"predictions": [2]}'
    assert not any(isinstance(message, messages.WorkerLost) for message in rig.received)


def test_a_flip_under_load_loses_nothing_and_drains_the_old_version(rig: GatewayRig) -> None:
    rig.serve(rig.worker("a1", "--fixed-ms", "1"), rig.worker("a2", "--fixed-ms", "1"))
    with Load(rig) as load:
        for key in "23456":
            worker = rig.worker(f"v{key}", "--fixed-ms", "1")
            rig.table([messages.Route(model="topic", pool=key)], [rig.pool(key, worker)])
            with rig.client() as client:
                assert client.ask(post(b"1")).headers["headrace-model"] == f"topic/{key}"
            assert rig.wait_for(messages.Drained).pool == str(int(key) - 1)
            load.flow()
    assert load.bad == []
    assert load.labels == {f"topic/{key}" for key in "123456"}


def test_what_waited_for_a_version_whose_workers_are_gone_goes_to_the_new_one(rig: GatewayRig) -> None:
    old = rig.worker("w1")
    rig.serve(old)
    with rig.client() as busy, rig.client() as client:
        hold(rig, old, busy)
        client.send(post(b"waited"))
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 1, "one waits")
        rig.table([messages.Route(model="topic", pool="2")], [rig.pool("2", rig.worker("w2"))])
        old.kill()
        assert client.reply().headers["headrace-model"] == "topic/2"
        assert rig.wait_for(messages.Drained).pool == "1"


def test_what_waited_is_told_when_there_is_no_new_version(rig: GatewayRig) -> None:
    old = rig.worker("w1")
    rig.serve(old)
    with rig.client() as client:
        hold(rig, old, client)
        rig.table([messages.Route(model="topic", reason="stopped by the operator")], [])
        old.kill()
        reply = client.reply()
        assert (reply.status, "stopped by the operator" in str(reply.json()["message"])) == (503, True)
        told = rig.wait_for(messages.Stats, lambda stats: stats.token == 0)
        assert counted(told, "headrace_requests_total", "invocations", "503") == 1
        assert rig.wait_for(messages.Drained).pool == "1"


def test_a_worker_that_is_taken_out_finishes_first(rig: GatewayRig) -> None:
    one, two = rig.worker("w1"), rig.worker("w2")
    rig.serve(one)
    with rig.client() as client:
        gate = hold(rig, one, client)
        rig.serve(two)
        with rig.client() as other:
            assert other.ask(post(b"1")).status == 200
        open_gate(gate)
        assert client.reply().status == 200
    assert not any(isinstance(message, messages.WorkerLost) for message in rig.received)


@pytest.mark.parametrize("how", ["signal", "message"])
def test_draining_finishes_what_is_in_flight(rig: GatewayRig, how: str) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as busy, rig.client() as idle:
        assert idle.ask(get("/ping")).status == 200
        gate = hold(rig, worker, busy)
        if how == "signal":
            rig.signal(signal.SIGINT)  # is for the supervisor
            rig.signal(signal.SIGTERM)
        else:
            rig.send(messages.Drain())
        assert idle.closed()
        open_gate(gate)
        reply = busy.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert busy.closed()
    assert rig.wait_exit() == 0


def test_draining_under_load_fails_no_request(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1", "--fixed-ms", "1"))
    with Load(rig) as load:
        for listener in rig.listeners.values():
            listener.close()
        rig.send(messages.Drain())
        assert rig.wait_exit() == 0
    # A connection that the kernel had accepted for the closed sockets is a new one, and new ones are refused.
    assert [bad for bad in load.bad if "Connection reset" not in str(bad)] == []


def test_draining_has_an_end() -> None:
    with GatewayRig(drain_s=0.3) as rig:
        worker = rig.worker("w1")
        rig.serve(worker)
        with rig.client() as busy:
            hold(rig, worker, busy)
            rig.send(messages.Drain())
            assert rig.wait_exit() == 0


def test_the_gateway_ends_with_its_supervisor(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    rig.control.close()
    assert rig.wait_exit() != 0


def test_another_gateway_on_the_same_sockets_takes_over(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as client:
        assert client.ask(post(b"1")).status == 200
        rig.process.kill()
        rig.wait_exit()
        with rig.client() as early:  # the supervisor holds the listening socket: nobody is turned away
            early.send(post(b"2"))
            rig.control.close()
            rig.start()
            rig.serve(worker)
            assert early.reply().body == b'{"predictions": [2]}'


STREAM = "Accept: text/event-stream"


def test_a_stream_comes_in_chunks_and_the_connection_goes_on(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        client.send(post(b"!stream 3", STREAM) + post(b"next") + post(b"!stream 2", STREAM) + post(b"last"))
        reply = client.reply()
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["transfer-encoding"] == "chunked"
        assert reply.headers["headrace-model"] == "topic/1"
        assert reply.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert client.reply().body == b'{"predictions": [next]}'
        assert client.reply().body == b"data: 0\n\ndata: 1\n\n"
        assert client.reply().body == b'{"predictions": [last]}'


def test_a_stream_for_http_1_0_ends_with_the_connection(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        reply = client.ask(post(b"!stream 2", STREAM, "Connection: keep-alive", version="1.0"))
        assert reply.headers["connection"] == "close"
        assert reply.body == b"data: 0\n\ndata: 1\n\n"


def test_a_stream_that_breaks_off_does_not_look_whole(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as client:
        client.send(post(b"!break 2", STREAM))
        assert client.head()[0] == 200
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = client.rest()
        assert not rest.endswith(b"0\r\n\r\n")
    assert rig.stats()["headrace_model_errors_total"] == 1
    gate = str(rig.directory / "never")
    with rig.client() as client:
        client.send(post(b"!dribble %b" % gate.encode(), STREAM))
        assert client.head()[0] == 200
        worker.kill()
        with contextlib.suppress(ConnectionResetError):
            rest = client.rest()
        assert not rest.endswith(b"0\r\n\r\n")
    assert rig.stats()["headrace_model_errors_total"] == 2


def test_a_client_that_leaves_its_stream_frees_the_worker(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    gate = str(rig.directory / "never").encode()
    with rig.client() as client:
        client.send(post(b"!dribble %b" % gate, STREAM))
        assert client.head()[0] == 200
        assert client.chunk() == b"data: 0\n\n"
    with rig.client() as client:
        assert client.ask(post(b"next")).status == 200


def test_a_slow_reader_slows_its_stream_down_and_nobody_else(rig: GatewayRig) -> None:
    one, two = rig.worker("w1"), rig.worker("w2")
    rig.serve(one, two)
    with rig.client() as client:
        client.send(post(b"!flood 500", STREAM))
        wait_until(lambda: rig.stats()["headrace_requests_total"] >= 1, "the stream has begun")
        with rig.client() as other:
            for _ in range(20):
                assert other.ask(post(b"1")).status == 200
        assert rig.stats()["headrace_in_flight_requests"] == 1
        assert client.reply().body.count(b"data: ") == 500


def test_two_streams_of_one_connection_come_one_after_the_other(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"), rig.worker("w2"))
    gate = rig.directory / "gate"
    with rig.client() as client:
        client.send(post(b"!dribble %b" % str(gate).encode(), STREAM) + post(b"!stream 20000", STREAM))
        assert client.head()[0] == 200
        assert client.chunk() == b"data: 0\n\n"
        gate.touch()
        while client.chunk():
            pass
        assert client.reply().body.endswith(b"data: 19999\n\n")


def test_the_cache(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, cache=messages.CacheOptions())
    with rig.client() as client:
        for body in (b"1", b"x" * 1000):
            assert client.ask(post(body)).headers["headrace-cache"] == "miss"
            hit = client.ask(post(body))
            assert (hit.headers["headrace-cache"], hit.body) == ("hit", b'{"predictions": [%b]}' % body)
        assert "headrace-cache" not in client.ask(post(b"1", "Cache-Control: no-cache")).headers
        assert client.ask(post(b"1", "Accept: text/plain")).headers["headrace-cache"] == "miss"
        for _ in range(2):
            reply = client.ask(post(b"!status 400"))
            assert (reply.status, reply.headers["headrace-cache"]) == (400, "miss")
        rig.table(
            [messages.Route(model="topic", pool="2", cache=messages.CacheOptions())], [rig.pool("2", rig.worker("w2"))]
        )
        assert client.ask(post(b"1")).headers["headrace-cache"] == "miss"
    assert len(worker.bodies()) == 6
    assert rig.stats()["headrace_cache_requests_total"] >= 1


def test_identical_requests_in_the_air_are_computed_once(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, cache=messages.CacheOptions())
    request, gate = waiting(rig, "gate")
    with rig.client() as impatient, rig.client() as second, rig.client() as third:
        with rig.client() as leader:
            leader.send(request)
            wait_until(worker.bodies, "the worker is busy")
            for client in (second, third):
                client.send(request)
            impatient.send(request.replace(b"Host", b"Request-Timeout-Ms: 50\r\nHost"))
            assert impatient.reply().status == 504
        wait_until(lambda: rig.stats()["headrace_connections_open"] == 3, "the first is gone")
        open_gate(gate)
        replies = [second.reply(), third.reply()]
        assert [reply.status for reply in replies] == [200, 200]
        assert "coalesced" in {reply.headers["headrace-cache"] for reply in replies}
        assert second.ask(request).headers["headrace-cache"] == "hit"
    assert len(worker.bodies()) == 1


def test_a_failure_that_several_waited_for_is_each_ones(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, cache=messages.CacheOptions())
    with rig.client() as busy, rig.client() as one, rig.client() as two:
        gate = hold(rig, worker, busy)
        for client in (one, two):
            client.send(post(b"!fail"))
        wait_until(lambda: rig.stats()["headrace_cache_requests_total"] == 3, "both wait")
        open_gate(gate)
        assert [one.reply().status, two.reply().status] == [400, 400]
    assert rig.stats()["headrace_model_errors_total"] == 2
    assert worker.bodies()[1:] == ["!fail"]


def test_an_error_that_several_waited_for_is_each_ones(rig: GatewayRig) -> None:
    one, two = rig.worker("w1"), rig.worker("w2")
    rig.serve(one, two, cache=messages.CacheOptions())
    request, _ = waiting(rig, "never")
    with rig.client() as first, rig.client() as second:
        for client in (first, second):
            client.send(request)
        wait_until(lambda: rig.stats()["headrace_cache_requests_total"] == 2, "both wait for the same")
        wait_until(lambda: one.frames() or two.frames(), "a worker has it")
        holder, other = (one, two) if one.frames() else (two, one)
        holder.kill()
        wait_until(other.frames, "the other has it")
        other.kill()
        assert [first.reply().status, second.reply().status] == [500, 500]
    rig.send(messages.AskStats(3))
    told = rig.wait_for(messages.Stats)
    assert counted(told, "headrace_requests_total", "500") == 2
    assert counted(told, "headrace_request_seconds_count") == 2


def test_a_flight_that_nobody_waits_for_never_starts(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker, cache=messages.CacheOptions())
    with rig.client() as busy:
        gate = hold(rig, worker, busy)
        with rig.client() as one, rig.client() as two:
            one.send(post(b"same"))
            two.send(post(b"same"))
            wait_until(lambda: rig.stats()["headrace_cache_requests_total"] == 3, "both wait")
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 0, "the flight is given up")
        open_gate(gate)
        assert busy.reply().status == 200
        assert busy.ask(post(b"other")).status == 200
    assert worker.bodies()[1:] == ["other"]


def counted(stats: messages.Stats, name: str, *values: str) -> float:
    return sum(v for of, labels, v in stats.values if of == name and {*values} <= {label for _, label in labels})


def test_the_numbers_add_up(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        for _ in range(5):
            client.ask(post(b"1"))
        client.ask(get("/ping"))
        client.ask(get("/ping/"))
    rig.send(messages.AskStats(3))
    values = {(name, labels): value for name, labels, value in rig.wait_for(messages.Stats).values}
    assert values["headrace_requests_total", (("route", "redirect"), ("status", "307"))] == 1
    topic = (("model", "topic"), ("version", "topic/1"))
    assert values["headrace_requests_total", (*topic, ("route", "invocations"), ("status", "200"))] == 5
    # What alerts wait for is there before it happens: a rate does not see a series' first value.
    assert values["headrace_requests_total", (*topic, ("route", "invocations"), ("status", "504"))] == 0
    nothing_serves = (("model", "topic"), ("route", "invocations"), ("status", "503"))
    assert values["headrace_requests_total", nothing_serves] == 0
    assert values["headrace_requests_total", (("route", "health"), ("status", "200"))] == 1
    assert values["headrace_request_seconds_count", topic] == values["headrace_queue_wait_seconds_count", topic] == 5
    assert values["headrace_batches_total", topic] == values["headrace_rows_total", topic] == 5
    assert values["headrace_request_seconds_bucket", (*topic, ("le", "+Inf"))] == 5


def probe(rig: GatewayRig, body: bytes, *, within_s: float = 10.0, pool: str = "1") -> messages.Probed:
    rig.send(messages.Probe(token=3, pool=pool, body=body, timeout_s=within_s))
    return rig.wait_for(messages.Probed)


def test_a_probe_takes_a_requests_way_and_counts_nowhere(rig: GatewayRig) -> None:
    worker = rig.worker("a")
    rig.serve(worker, cache=messages.CacheOptions())
    for _ in range(2):
        answer = probe(rig, b"x")
        assert (answer.status, answer.reason, answer.asked) == (200, "", True)
    assert worker.bodies() == ["x", "x"], "no cache answers it"
    counted = {name: value for name, value in rig.stats().items() if name.startswith("headrace_") and value}
    always = {"headrace_connections_open", "headrace_request_memory_limit_bytes", "headrace_concurrency"}
    assert counted.keys() <= always, counted
    assert probe(rig, b"x", pool="other").asked is False


def test_a_probe_that_no_worker_was_free_for_says_nothing(rig: GatewayRig) -> None:
    worker = rig.worker("a")
    rig.serve(worker)
    with rig.client() as client:
        gate = hold(rig, worker, client)
        busy = probe(rig, b"x", within_s=0.1)
        assert (busy.status, busy.asked) == (504, False)
        open_gate(gate)
        assert client.reply().status == 200
        assert "x" not in worker.bodies()
        rig.send(
            messages.Probe(token=4, pool="1", body=b"!wait %b" % str(rig.directory / "never").encode(), timeout_s=0.1)
        )
        slow = rig.wait_for(messages.Probed)
        assert (slow.status, slow.asked) == (504, True)
        # Nobody's work keeps the only worker from the next one but that probe's.
        next_one = probe(rig, b"x", within_s=0.1)
        assert (next_one.status, next_one.asked) == (504, True)


def test_health_says_that_probes_fail_and_requests_are_answered(rig: GatewayRig) -> None:
    worker = rig.worker("a")
    other = messages.Route(model="other", pool="2")
    pools = [rig.pool("1", worker), rig.pool("2", worker, model="other")]
    for ready, whole in (("all", 503), ("any", 200)):
        rig.generation += 1
        routes = (messages.Route(model="topic", pool="1", unwell="it raises"), other)
        rig.send(messages.Table(generation=rig.generation, routes=routes, pools=tuple(pools), ready=ready))  # type: ignore[arg-type]
        rig.wait_for(messages.Applied)
        with rig.client() as client, rig.client(None) as shared:
            health = client.ask(get("/ping"))
            assert (health.status, b"it raises" in health.body) == (503, True)
            assert client.ask(post(b"x")).status == 200
            assert shared.ask(get("/ping")).status == whole
            assert shared.ask(get("/models/other/ping")).status == 200


def test_what_a_version_counted_is_told_when_it_goes(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        for _ in range(3):
            assert client.ask(post(b"1")).status == 200
        # It returns in another pool before the first has gone: the two are counted together.
        again = msgspec.structs.replace(rig.pool("2", rig.worker("w2")), label="topic/1")
        rig.table([messages.Route(model="topic", pool="2")], [again])
        assert client.ask(post(b"1")).status == 200
        answered = "headrace_requests_total"
        assert rig.stats()[answered] == 4
        assert rig.wait_for(messages.Drained).pool == "1"
        rig.table([messages.Route(model="topic", pool="3")], [rig.pool("3", rig.worker("w3"))])
        told = rig.wait_for(messages.Stats, lambda stats: stats.token == 0)
        assert sum(value for name, _, value in told.values if name == answered) == 4
        assert rig.wait_for(messages.Drained).pool == "2"
        assert rig.stats()[answered] == 0
