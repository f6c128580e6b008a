"""What becomes of requests when workers die, hang, are replaced or are too few, with real processes on both sides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import psutil
import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import get, post
from tests.gateway_rig.load import Load, hold, open_gate, waiting
from tests.gateway_rig.rig import GatewayRig, Worker, wait_until


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        yield rig


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


def test_a_pool_that_sleeps_calls_once_and_one_that_cannot_be_woken_sends_away_who_waits(rig: GatewayRig) -> None:
    route = messages.Route(model="topic", pool="1", reason="it could not be woken: no weights")

    def become(*workers: Worker, asleep: bool = False, trouble: str = "") -> None:
        pool = msgspec.structs.replace(rig.pool("1", *workers), follows=True, asleep=asleep, trouble=trouble)
        rig.table([route], [pool])

    become(asleep=True)
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(rig.client()) for _ in range(2))
        assert first.ask(get("/ping")).status == 200
        first.send(post(b"1"))
        called = rig.wait_for(messages.PoolLoad)
        assert (called.pool, called.asked) == ("1", 1)
        second.send(post(b"2"))
        become(trouble="no weights")
        for client in (first, second):
            reply = client.reply()
            assert (reply.status, reply.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "no weights" in str(reply.json()["message"])
        assert "no weights" in str(first.ask(post(b"3")).json()["message"])
        assert first.ask(get("/ping")).status == 503
        become(asleep=True)
        first.send(post(b"4"))
        become(rig.worker("w1"))
        assert first.reply().status == 200
