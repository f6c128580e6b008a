"""All connections of clients: their number, their unread answers, their timeouts, and their end."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from headrace.core.protocol import messages
from headrace.core.serving.crowd import EXPLAINED, Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.core.serving.memory import ConnectionMemory
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.state import GatewayState

_RESERVED_DESCRIPTORS = 256


class Peer(Protocol):
    """A connection. `deadline_s` is when it is to be closed unless something happens."""

    transport: asyncio.Transport
    account: ConnectionMemory
    deadline_s: float

    def peer(self) -> bytes:
        """The address of the client, without its port."""

    def on_refused(self, code: str, message: str) -> None:
        """One error answer, after those of earlier requests; then close."""

    def expire(self, now_s: float) -> None:
        """`deadline_s` has passed."""

    def close_when_done(self) -> None:
        """Close now if nothing is in flight, else after the last answer."""


class Clients:
    """The owner of the set of connections.

    `descriptors`: how many files the process may have open. `long_lived` are connections that no answer ends: they are
    told at once when the gateway drains.
    """

    def __init__(self, state: GatewayState, *, descriptors: int) -> None:
        limits = state.limits
        self.long_lived: set[Peer] = set()
        self._state = state
        self._open: set[Peer] = set()
        self._crowd = Crowd(
            limits.max_connections,
            limits.max_connections_per_client,
            descriptors=descriptors,
            reserved=min(_RESERVED_DESCRIPTORS, descriptors // 4),
        )

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Peer, descriptor: int) -> None:
        """Add a connection. It is refused if there are too many."""
        counters, crowd = self._state.counters, self._crowd
        counters.connections += 1
        self._open.add(connection)
        counters.open_connections = len(self._open)
        reason = crowd.enter(connection.peer() if crowd.tells_clients_apart else b"", descriptor)
        if reason is None:
            return
        if crowd.worth_telling(reason, monotonic()):
            self._state.report(messages.Crowded(reason))
        connection.on_refused("OVERLOADED", EXPLAINED[reason])
        if not crowd.may_linger(descriptor):
            connection.transport.close()

    def closed(self, connection: Peer) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self.long_lived.discard(connection)
        self._crowd.leave(connection.peer() if self._crowd.tells_clients_apart else b"")
        self._state.counters.open_connections = len(self._open)

    def relieve(self) -> None:
        """If unread answers exceed the memory for them, close the connection with most of them."""
        memory = self._state.memory
        if memory.unread_bytes <= memory.limit_bytes:
            return
        worst = max(self._open, key=lambda connection: connection.account.unread_bytes)
        self._crowd.turned_away["unread"] += 1
        worst.account.unread(0)
        worst.transport.abort()

    def expire(self, now_s: float) -> None:
        """Close connections whose deadline has passed (30 ns for each that is checked)."""
        late = [connection for connection in self._open if connection.deadline_s <= now_s]
        for connection in late:
            connection.expire(now_s)

    def begin_drain(self) -> None:
        """From now on every answer ends its connection."""
        self._state.writer.begin_drain()
        for connection in list(self.long_lived):
            connection.close_when_done()

    def close_idle(self) -> None:
        """Close the connections on which nothing is asked."""
        for connection in list(self._open):
            connection.close_when_done()

    def close(self) -> None:
        """End all at once."""
        for connection in list(self._open):
            connection.transport.abort()

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted of those that were turned away."""
        yield from self._crowd.samples()
