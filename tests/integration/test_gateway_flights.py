"""What needs no worker of its own: answers from the cache, of the same request that is under way, and probes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import get, post
from tests.gateway_rig.load import counted, hold, open_gate, waiting
from tests.gateway_rig.rig import GatewayRig, wait_until


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        yield rig


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
