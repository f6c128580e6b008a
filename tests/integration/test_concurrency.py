"""Many calls under way in one worker: a real worker with a model that waits, behind a real gateway."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, Reply, post
from tests.gateway_rig.rig import GatewayRig, Worker, wait_until
from tests.integration.test_slow_readers import ENDLESS, ask_stream, open_stream, streams


def order(text: str, *headers: str) -> bytes:
    return post(json.dumps({"inputs": [text]}).encode(), *headers)


def said(reply: Reply) -> str:
    assert reply.status == 200, reply
    return str(json.loads(reply.body)["predictions"][0])


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


@contextlib.contextmanager
def clients(rig: GatewayRig, count: int) -> Iterator[list[RawClient]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(rig.client()) for _ in range(count)]


def serve(rig: GatewayRig, *workers: Worker, concurrency: int | None = 64, timeout_s: float = 60.0) -> None:
    rig.serve(*workers, concurrency=concurrency, timeout_s=timeout_s)


@pytest.mark.parametrize("concurrency", [5, 40, None])
def test_as_many_calls_are_under_way_as_may_be(rig: GatewayRig, concurrency: int | None) -> None:
    """Left to be found out (None) it is found out while the first calls are under way: they all wait for one gate."""
    worker = rig.stream_worker("w1")
    serve(rig, worker, concurrency=concurrency)
    concurrency = concurrency or 40
    gate = rig.directory / "gate"
    with clients(rig, 40) as asking:
        for number, client in enumerate(asking):
            client.send(order(f"wait {gate}", f"X-Request-Id: {number}"))
        wait_until(lambda: len(worker.lines()) == concurrency, "so many are under way")
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 40 - concurrency, "the others wait")
        assert rig.stats()["headrace_in_flight_requests"] == concurrency
        gate.touch()
        for number, client in enumerate(asking):
            reply = client.reply()
            assert said(reply) == f"wait {gate}"
            assert reply.headers["x-request-id"] == str(number)


def test_calls_are_answered_when_they_are_done_and_each_in_its_own_time(rig: GatewayRig) -> None:
    worker = rig.stream_worker("w1")
    serve(rig, worker)
    first, second = rig.directory / "first", rig.directory / "second"
    with clients(rig, 3) as (slow, late, quick):
        slow.send(order(f"wait {first}"))
        late.send(order(f"wait {second}", "Request-Timeout-Ms: 300"))
        wait_until(lambda: len(worker.lines()) == 2, "both are under way")
        assert said(quick.ask(order("hello"))) == "hello"
        assert late.reply().status == 504
        assert quick.ask(post(b"{")).status == 400
        first.touch()
        assert said(slow.reply()) == f"wait {first}"
        assert rig.stats()["headrace_in_flight_requests"] == 1, "the late one is still with its worker"
        second.touch()
        wait_until(lambda: rig.stats()["headrace_in_flight_requests"] == 0, "it has ended")


def test_the_least_busy_worker_is_taken(rig: GatewayRig) -> None:
    workers = [rig.stream_worker(f"w{number}") for number in range(3)]
    serve(rig, *workers)
    gate = rig.directory / "gate"
    with clients(rig, 12) as asking:
        for client in asking:
            client.send(order(f"wait {gate}"))
        wait_until(lambda: sum(len(worker.lines()) for worker in workers) == 12, "all are under way")
        assert [len(worker.lines()) for worker in workers] == [4, 4, 4]
        gate.touch()
        assert [client.reply().status for client in asking] == [200] * 12


def test_a_call_that_hangs_lets_its_neighbours_finish_before_its_worker_is_given_up(rig: GatewayRig) -> None:
    worker, another = rig.stream_worker("w1"), rig.stream_worker("w2")
    serve(rig, worker, concurrency=256, timeout_s=6.0)
    with clients(rig, 200) as (hung, *others), rig.client() as next_one:
        hung.send(order(f"wait {rig.directory / 'never'}"))
        wait_until(lambda: len(worker.lines()) == 1, "it is under way")
        with asking_on(others, "sleep 1"):
            assert hung.reply().status == 504
            # Nothing new is given to the worker: what comes waits for another.
            next_one.send(order("hello"))
            assert rig.wait_for(messages.WorkerHung).worker == "w1"
            serve(rig, worker, another)
            assert said(next_one.reply()) == "hello"
    assert rig.stats()["headrace_retried_total"] == 0, "no neighbour was with it when it was given up"


def test_who_kills_a_worker_takes_no_neighbour_with_it(rig: GatewayRig) -> None:
    workers = [rig.stream_worker(f"w{number}") for number in range(3)]
    serve(rig, workers[0], concurrency=256)
    gate = rig.directory / "gate"
    with clients(rig, 199) as asking, rig.client() as killer:
        for client in asking:
            client.send(order(f"wait {gate}"))
        wait_until(lambda: len(workers[0].lines()) == 199, "all are under way")
        killer.send(order("die"))
        rig.wait_for(messages.WorkerLost, lambda lost: lost.in_flight == 200)
        gate.touch()
        serve(rig, workers[1], workers[2])
        assert [client.reply().status for client in asking] == [200] * 199
        reply = killer.reply()
        assert (reply.status, reply.json()["error_code"]) == (500, "WORKER_DIED")


def test_a_version_is_drained_when_its_last_call_is_answered(rig: GatewayRig) -> None:
    old, new = rig.stream_worker("w1"), rig.stream_worker("w2")
    serve(rig, old)
    gate = rig.directory / "gate"
    with clients(rig, 5) as asking, rig.client() as other:
        for client in asking:
            client.send(order(f"wait {gate}"))
        wait_until(lambda: len(old.lines()) == 5, "all are under way")
        rig.table([messages.Route(model="topic", pool="2", concurrency=64)], [rig.pool("2", new)])
        assert other.ask(order("hello")).headers["headrace-model"] == "topic/2"
        assert not any(isinstance(message, messages.Drained) for message in rig.received)
        gate.touch()
        assert {client.reply().headers["headrace-model"] for client in asking} == {"topic/1"}
        assert rig.wait_for(messages.Drained).pool == "1"


def test_streams_run_beside_each_other_and_beside_calls(rig: GatewayRig) -> None:
    worker = rig.stream_worker("w1")
    serve(rig, worker, concurrency=None)  # which is found out while they wait
    gate = rig.directory / "gate"
    with contextlib.ExitStack() as stack, rig.client() as other:
        waiting = [stack.enter_context(rig.client()) for _ in range(100)]
        for client in waiting:
            client.send(ask_stream(3, 10, str(gate)))
        for client in waiting:
            client.head()
        for client in waiting:
            assert client.chunk() == b'data: "xxxxxxxxxx"\n\n'
        stopped = stack.enter_context(open_stream(rig, ask_stream(ENDLESS, 10_000)))
        wait_until(lambda: streams(rig, "parked") == 1, "one waits for its reader")
        assert said(other.ask(order("hello"))) == "hello"
        gate.touch()
        for client in waiting:
            assert b"".join(iter(client.chunk, b"")).endswith(b"data: [DONE]\n\n")
        assert sorted(worker.lines()) == ["3 done"] * 100
        stats = rig.stats()
        assert stats["headrace_stream_chunks_total"] > 400, "three each, the end, and those of the stopped one"
        assert stats["headrace_stream_first_chunk_seconds_count"] == 101
        stopped.socket.close()
        wait_until(lambda: len(worker.lines()) == 101, "the model's generator to be closed")
        assert worker.lines()[-1].endswith("closed")
        wait_until(lambda: rig.stats()["headrace_in_flight_requests"] == 0, "nothing is under way")


def test_auto_finds_out_that_a_model_waits(rig: GatewayRig) -> None:
    worker = rig.stream_worker("w1")
    serve(rig, worker, concurrency=None)
    assert rig.stats()["headrace_concurrency"] == 1
    until_found(rig, "sleep 0.05", lambda: rig.stats()["headrace_concurrency"] >= 8)
    serve(rig, worker, concurrency=2)
    assert rig.stats()["headrace_concurrency"] == 2


def test_auto_leaves_a_model_that_computes_alone(rig: GatewayRig) -> None:
    serve(rig, rig.stream_worker("w1"), concurrency=None)
    until_found(rig, "burn 0.02", lambda: rig.stats()["headrace_requests_total"] >= 150)
    assert rig.stats()["headrace_concurrency"] == 1


def test_a_model_that_fails_in_company_only_is_put_back_to_one_call(rig: GatewayRig) -> None:
    serve(rig, rig.stream_worker("w1"), concurrency=None)
    with clients(rig, 16) as asking:
        while not any(isinstance(one, messages.Hazard) for one in rig.received):
            for client in asking:
                client.send(order("lonely 0.06"))
            for client in asking:
                assert client.reply().status in {200, 400, 500}
            rig.stats()  # which reads what the gateway reports
        assert rig.wait_for(messages.Hazard).counts == {messages.FAILS_BESIDE: 1}
        assert rig.stats()["headrace_concurrency"] == 1
        for client in asking:
            client.send(order("lonely 0.01"))
        assert [client.reply().status for client in asking] == [200] * 16


def until_found(rig: GatewayRig, text: str, condition: Callable[[], bool]) -> None:
    """Have 16 clients ask until it is so."""
    with clients(rig, 16) as asking, asking_on(asking, text):
        wait_until(condition, "it is found out")


@contextlib.contextmanager
def asking_on(asking: list[RawClient], text: str) -> Iterator[None]:
    """Have clients ask again and again meanwhile; each is answered with 200."""
    stop = threading.Event()

    def keep_asking(client: RawClient) -> None:
        while not stop.is_set():
            assert client.ask(order(text)).status == 200

    with ThreadPoolExecutor(len(asking)) as pool:
        done = [pool.submit(keep_asking, client) for client in asking]
        try:
            yield
        finally:
            stop.set()
        for one in done:
            one.result()
