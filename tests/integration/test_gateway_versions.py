"""A version that takes over from another, and a gateway that drains or is followed by another: no request is lost."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import get, post
from tests.gateway_rig.load import Load, counted, hold, open_gate
from tests.gateway_rig.rig import GatewayRig, wait_until


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        yield rig


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


def test_who_connects_at_the_moment_of_draining_is_answered(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    rig.signal(signal.SIGSTOP)
    rig.send(messages.Drain())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(8)]
        for client in clients:
            client.send(post(b"1"))
        rig.signal(signal.SIGCONT)
        assert rig.wait_exit() == 0
        rig.control.close()
        rig.start()  # whom the first has not accepted waits for the next one
        rig.serve(worker)
        assert [client.reply().status for client in clients] == [200] * 8


def test_a_second_order_to_drain_finishes_what_is_in_flight_too(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as busy:
        gate = hold(rig, worker, busy)
        for drain in (messages.Drain(patient=True), messages.Drain()):
            rig.send(drain)
            rig.stats()  # it has been heard
        open_gate(gate)
        assert busy.reply().status == 200
    assert rig.wait_exit() == 0


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
