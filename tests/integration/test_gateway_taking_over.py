"""Gateways that come and go on the same sockets: when they take clients, and what becomes of who connects meanwhile."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from headrace.core.protocol import messages
from headrace.supervisor.processes.sockets import listen, listen_again
from tests.gateway_rig.client import post
from tests.gateway_rig.rig import GatewayRig


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


def say(rig: GatewayRig, *, is_open: bool) -> None:
    """Send a table, and do not wait."""
    rig.generation += 1
    route, pool = messages.Route(model="topic", pool="1"), rig.pool("1", *rig.workers)
    rig.send(messages.Table(generation=rig.generation, routes=(route,), pools=(pool,), open=is_open))


def applied(rig: GatewayRig) -> messages.Applied:
    return rig.wait_for(messages.Applied, lambda one: one.generation == rig.generation)


def restart(rig: GatewayRig) -> None:
    rig.control.close()
    rig.received.clear()
    rig.start()


def test_a_gateway_takes_no_client_before_it_is_told_to(rig: GatewayRig) -> None:
    rig.worker("w1")
    with rig.client() as client:
        client.send(post(b'"early"'))
        say(rig, is_open=False)
        assert applied(rig) == messages.Applied(1, listens=False)
        assert rig.stats()["headrace_requests_total"] == 0
        say(rig, is_open=True)
        assert applied(rig) == messages.Applied(2, listens=True)
        assert client.reply().body == b'{"predictions": ["early"]}'
        say(rig, is_open=False)  # it has begun
        assert applied(rig) == messages.Applied(3, listens=True)
        rig.send(messages.Drain(within_s=30.0, patient=True))
        rig.wait_for(messages.ListensNoMore)
        say(rig, is_open=True)
        assert applied(rig) == messages.Applied(4, listens=False)


def test_an_end_that_comes_with_the_first_table_loses_no_client(rig: GatewayRig) -> None:
    rig.worker("w1")
    for _ in range(3):
        with rig.client() as client:
            client.send(post(b'"early"'))
            say(rig, is_open=True)
            rig.send(messages.Drain(within_s=10.0, patient=True))
            assert rig.wait_exit() == 0
            restart(rig)
            say(rig, is_open=True)
            applied(rig)
            # The first has answered it, or has left it to the second.
            assert client.reply().body == b'{"predictions": ["early"]}'
        rig.send(messages.Drain())
        assert rig.wait_exit() == 0
        restart(rig)


def test_no_client_is_given_to_a_socket_for_a_gateway_that_may_never_come() -> None:
    (first,) = listen("127.0.0.1", 0, "gateway.port")
    more = listen_again(first, "gateway.port", copies=3)
    with contextlib.ExitStack() as stack:
        for one in (first, *more):
            stack.callback(one.close)
        clients = [stack.enter_context(socket.create_connection(first.getsockname())) for _ in range(64)]
        first.setblocking(True)
        first.settimeout(60)
        for one in more:
            one.close()
        taken = [stack.enter_context(first.accept()[0]) for _ in clients]
        for one in taken:
            one.sendall(b"!")
        assert {client.recv(1) for client in clients} == {b"!"}
