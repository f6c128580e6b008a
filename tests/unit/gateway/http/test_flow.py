"""How fast bytes pass through one connection, with a transport in memory."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core.serving.memory import ConnectionMemory, MemoryBudget
from headrace.gateway.http.flow import Flow


class Transport:
    """What a socket's transport does; `unwritten` is what its client has not read."""

    def __init__(self) -> None:
        self.unwritten = 0
        self.reading = True
        self.closing = self.aborted = self.ended = self.reset = False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def abort(self) -> None:
        self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_extra_info(self, _: str) -> Any:
        return self

    def getpeername(self) -> str:
        if self.reset:
            raise OSError
        return "somebody"


class Loop:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_later(self, delay_s: float, call: Any, *arguments: Any) -> None:
        self.later.append((delay_s, call, arguments))

    def turn(self) -> float:
        delay_s, call, arguments = self.later.pop()
        call(*arguments)
        return delay_s


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def account() -> ConnectionMemory:
    return ConnectionMemory(MemoryBudget(1_000_000))


@pytest.fixture
def flow(transport: Transport, account: ConnectionMemory) -> Flow:
    given: Any = transport
    return Flow(given, account)


def test_reading_is_paused_and_resumed_once(flow: Flow, transport: Transport) -> None:
    flow.resume_reading()
    flow.pause_reading()
    flow.pause_reading()
    assert (flow.read_paused, transport.reading) == (True, False)
    flow.resume_reading()
    assert (flow.read_paused, transport.reading) == (False, True)


def test_nothing_is_read_from_who_does_not_read(flow: Flow, transport: Transport, account: ConnectionMemory) -> None:
    transport.unwritten = 500
    flow.pause_writing()
    assert (transport.reading, account.unread_bytes) == (False, 500)
    flow.resume_reading()
    assert not transport.reading
    transport.unwritten = 700
    flow.count_unread()
    assert account.unread_bytes == 700
    flow.resume_writing()
    flow.resume_reading()
    assert (transport.reading, account.unread_bytes) == (True, 0)


def test_a_slow_client_is_one_that_has_read_something_since(flow: Flow, transport: Transport) -> None:
    transport.unwritten = 500
    flow.pause_writing()
    assert not flow.drains()
    transport.unwritten = 499
    assert flow.drains()
    assert not flow.drains()


def test_a_connection_that_ends_is_left_alone(flow: Flow, transport: Transport) -> None:
    transport.closing = True
    flow.pause_reading()
    assert transport.reading


def test_who_sends_on_after_an_error_is_read_for_a_while_only(flow: Flow, transport: Transport) -> None:
    for _ in range(64):
        flow.discard(bytes(1024 * 1024))
    assert not transport.aborted
    flow.discard(b"x")
    assert transport.aborted


def test_the_end_is_said_and_what_comes_is_still_read(flow: Flow, transport: Transport) -> None:
    flow.pause_reading()
    flow.end_writing()
    assert (transport.ended, transport.reading) == (True, True)


def test_a_reset_is_looked_for_ever_more_seldom_until_it_comes(flow: Flow, transport: Transport) -> None:
    loop: Any = Loop()
    flow.watch_for_reset(loop)
    delays = [loop.turn() for _ in range(8)]
    assert delays == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    transport.reset = True
    loop.turn()
    assert transport.aborted
    assert loop.later == []
