"""Limits of connections: of all, of each client, and by file descriptors. Pure.

A connection that is refused counts until it is closed: it has a descriptor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from headrace.core.telemetry.totals import Sample

Reason = Literal["connections", "client", "descriptors"]
"""Why a connection is turned away: too many, too many of its client, or no file descriptor to spare."""

EXPLAINED: dict[Reason, str] = {
    "connections": "Too many connections; try again in a moment.",
    "client": "Too many connections from this address; use those that are open, or try again in a moment.",
    "descriptors": "The server has no file descriptors left for more connections; try again in a moment.",
}
"""What the client is told."""

_TOLD_EVERY_S = 60.0


class Crowd:
    """The open connections. None for `most_of_a_client` stands for no limit of its own.

    `descriptors`: how many the process may have, `reserved` how many of them are kept free for what is no client's
    (workers, files) and for telling clients that there are no more.
    """

    def __init__(self, most: int, most_of_a_client: int | None, *, descriptors: int, reserved: int) -> None:
        self._most = most
        self._most_of_a_client = most_of_a_client
        self._reserved = reserved
        self._usable = descriptors - reserved
        self._of: Counter[bytes] = Counter()
        self._told_s: dict[Reason, float] = {}
        self.turned_away: Counter[str] = Counter(dict.fromkeys((*EXPLAINED, "unread"), 0))
        self.count = 0

    def __repr__(self) -> str:
        return f"<Crowd {self.count} of {self._most}>"

    @property
    def tells_clients_apart(self) -> bool:
        """Whether `enter` and `leave` need to know the client."""
        return self._most_of_a_client is not None

    def enter(self, client: bytes, descriptor: int) -> Reason | None:
        """Add a connection. Returns why it must be refused, or None.

        The kernel gives out the lowest free descriptor: a high number says that nearly all are in use, by whomever.
        """
        self.count += 1
        reason: Reason | None = None
        if descriptor >= self._usable:
            reason = "descriptors"
        elif self.count > self._most:
            reason = "connections"
        if self._most_of_a_client is not None:
            self._of[client] += 1
            if reason is None and self._of[client] > self._most_of_a_client:
                reason = "client"
        if reason is not None:
            self.turned_away[reason] += 1
        return reason

    def samples(self) -> Iterator[Sample]:
        """Yield how many were refused, by reason."""
        for reason, count in self.turned_away.items():
            yield "headrace_turned_away_total", (("reason", reason),), count

    def may_linger(self, descriptor: int) -> bool:
        """Whether a connection that is turned away may stay until its client has read that: half of the reserve may."""
        return descriptor < self._usable + self._reserved // 2

    def leave(self, client: bytes) -> None:
        """Remove a connection, also one that was refused."""
        self.count -= 1
        if self._most_of_a_client is not None:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]

    def worth_telling(self, reason: Reason, now_s: float) -> bool:
        """Whether to report that connections are refused: for each reason at most once a minute."""
        if now_s - self._told_s.get(reason, -_TOLD_EVERY_S) < _TOLD_EVERY_S:
            return False
        self._told_s[reason] = now_s
        return True
