"""The budget of bytes that a gateway holds for clients, and the part of it that one connection may have. Pure.

The caller decides what is counted, and when.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.core.telemetry.totals import Sample

LITTLE_BYTES = 8192


class MemoryBudget:
    """One budget of `limit_bytes`, shared fairly; `held_bytes` is what all connections hold of it.

    `unread_bytes` of these are answers that clients do not read.

    A connection may have as much as is left for others: alone up to half of the budget, beside another that has its
    half a quarter, and so on. So no number of connections takes all of it before the next one comes.
    """

    __slots__ = ("held_bytes", "limit_bytes", "unread_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.unread_bytes = 0

    def __repr__(self) -> str:
        return f"<MemoryBudget {self.held_bytes} of {self.limit_bytes} bytes>"

    def samples(self) -> Iterator[Sample]:
        """Yield what is held, and how much may be."""
        yield "headrace_request_memory_bytes", (), self.held_bytes
        yield "headrace_request_memory_limit_bytes", (), self.limit_bytes

    @property
    def largest_bytes(self) -> int:
        """The most that a connection may have if no other has anything."""
        return self.limit_bytes // 2

    def allows(self, own_bytes: int) -> bool:
        """Whether a connection may go on that has `own_bytes`, which `held_bytes` contains already."""
        return self.held_bytes + own_bytes <= self.limit_bytes


class ConnectionMemory:
    """What one connection has of a budget: requests, answers that wait, and answers that are not read.

    Up to `LITTLE_BYTES` a connection may always have: who asks for little is served however much others have.
    """

    __slots__ = ("_budget", "_unread_bytes", "arriving_bytes", "held_bytes")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.arriving_bytes = 0
        self._unread_bytes = 0
        self.held_bytes = 0

    @property
    def fair(self) -> bool:
        """Whether the connection may take more."""
        return self.held_bytes <= LITTLE_BYTES or self._budget.allows(self.held_bytes)

    @property
    def unread_bytes(self) -> int:
        """How much of its answers the client has not read."""
        return self._unread_bytes

    def hold(self, size_bytes: int) -> None:
        """Add to what is held; a negative number releases."""
        self.held_bytes += size_bytes
        self._budget.held_bytes += size_bytes

    def arriving(self, size_bytes: int) -> None:
        """So much is held of a request that is not complete."""
        if size_bytes != self.arriving_bytes:
            self.hold(size_bytes - self.arriving_bytes)
            self.arriving_bytes = size_bytes

    def unread(self, size_bytes: int) -> None:
        """So much of the answers waits for the client to read it."""
        if size_bytes != self._unread_bytes:
            self.hold(size_bytes - self._unread_bytes)
            self._budget.unread_bytes += size_bytes - self._unread_bytes
            self._unread_bytes = size_bytes

    def close(self) -> None:
        """Release everything."""
        self.unread(0)
        self.hold(-self.held_bytes)
        self.arriving_bytes = 0
