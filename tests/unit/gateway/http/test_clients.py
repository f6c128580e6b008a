"""Connections that are closed while nothing is asked: a request that has come by then is answered, not reset.

Real sockets on the event loop that a gateway has. What a client sends is in the gateway's socket at once, and is read
when the loop has its turn: so what a test does between two awaits is done before anything is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from headrace.core.protocol.messages import Limits
from headrace.gateway.exchange import Exchange
from headrace.gateway.http.clients import Clients
from headrace.gateway.http.connection import Connection
from headrace.gateway.http.port import Port
from headrace.gateway.state import GatewayState
from tests.gateway_rig.client import RawClient, get

NEVER_S = 1e9


class Later:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Exchange] = []
        self.at_once = False

    def handle(self, exchange: Exchange, now_s: float) -> None:
        self.waiting.append(exchange)
        if self.at_once:
            self.reply(now_s)

    answer = overloaded = handle

    def takes_body(self, _: object) -> bool:
        return True

    def reply(self, now_s: float = 0.0) -> None:
        self.waiting.pop(0).reply_with(200, b"{}", now_s)


class Served:
    """One port of a gateway, and a client that has connected to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.application = Later()
        state = GatewayState(loop, Limits(), lambda _: None)
        self.clients = Clients(state, descriptors=1 << 20)
        self.port = Port(state, self.clients, self.application, "topic")
        self.client: RawClient

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - each turn of the loop may change it
                await asyncio.sleep(0)


def run(test: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        served = Served(loop)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            server = await loop.create_server(lambda: Connection(served.port), sock=listener)
        try:
            with RawClient(address) as served.client:
                await served.until(lambda: len(served.clients) == 1)
                await test(served)
            await served.until(lambda: len(served.clients) == 0)
        finally:
            served.clients.close()
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


async def answered(served: Served) -> None:
    """The client gets one answer, and then an end without a reset."""
    reply = await asyncio.to_thread(served.client.reply)
    assert (reply.status, reply.headers.get("connection")) == (200, "close")
    assert await asyncio.to_thread(served.client.rest) == b""


def test_a_request_that_has_come_when_idle_connections_are_closed_is_answered() -> None:
    async def test(served: Served) -> None:
        served.application.at_once = True
        served.clients.begin_drain()
        served.client.send(get("/ping"))
        served.clients.close_idle()
        await answered(served)

    run(test)


def test_a_request_that_has_come_when_a_connection_has_been_idle_for_too_long_is_answered() -> None:
    async def test(served: Served) -> None:
        served.application.at_once = True
        served.client.send(get("/ping"))
        served.clients.expire(NEVER_S)
        assert (await asyncio.to_thread(served.client.reply)).status == 200
        served.clients.expire(NEVER_S)
        assert await asyncio.to_thread(served.client.rest) == b""

    run(test)


def test_a_request_that_follows_the_last_answer_of_a_gateway_that_drains_is_answered() -> None:
    async def test(served: Served) -> None:
        application = served.application
        served.client.send(get("/ping"))
        await served.until(lambda: application.waiting)
        served.clients.begin_drain()
        served.client.send(get("/ping"))
        application.at_once = True
        application.reply()
        reply = await asyncio.to_thread(served.client.reply)
        assert (reply.status, reply.headers.get("connection")) == (200, "close")
        await answered(served)

    run(test)


@pytest.mark.parametrize("how", ["close_idle", "expire"])
def test_a_connection_on_which_nothing_has_come_is_closed(how: str) -> None:
    async def test(served: Served) -> None:
        if how == "close_idle":
            served.clients.close_idle()
        else:
            served.clients.expire(NEVER_S)
        assert await asyncio.to_thread(served.client.rest) == b""

    run(test)
