"""How much may wait, and when a client that was refused should retry.

Pure: time is a number of seconds on a clock that does not go back.
"""

from __future__ import annotations

import math
from typing import Protocol

from headrace.core.protocol.messages import QueueOptions

_WINDOW_S = 1.0
_SHORTEST_S = 1
_LONGEST_S = 30


class Charge(Protocol):
    """What one request has taken from a bounded resource."""

    def release(self, rows: int = 0) -> None:
        """Give it back: the request has ended and had this many rows (0: not known). A second call has no effect."""


class ShareCharge:
    """The rows that one request counts for against its client's share, until `release`, which releases `also` too."""

    __slots__ = ("_also", "_client", "_rows", "_shares")

    def __init__(self, shares: ClientShares, client: bytes, rows: int, also: Charge | None = None) -> None:
        self._also = also
        self._shares = shares
        self._client = client
        self._rows = rows

    def release(self, rows: int = 0) -> None:
        """See `Charge`."""
        taken, self._rows = self._rows, 0
        if taken:
            self._shares.give_back(self._client, taken)
            if self._also is not None:
                self._also.release(rows)


class ClientShares:
    """How many rows (or streams) each client has waiting or in work; clients without any are not remembered."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}

    def take(self, client: bytes, rows: int, max_rows: int, *, also: Charge | None = None) -> ShareCharge | None:
        """Count `rows` for `client`, or None if it has too many. One without any may ask for more than `max_rows`."""
        taken = self.rows.get(client, 0)
        if taken and taken + rows > max_rows:
            return None
        self.rows[client] = taken + rows
        return ShareCharge(self, client, rows, also)

    def give_back(self, client: bytes, rows: int) -> None:
        """Called by `ShareCharge.release`."""
        left = self.rows[client] - rows
        if left:
            self.rows[client] = left
        else:
            del self.rows[client]


class Admission:
    """The bound of one pool's queue, and the rate at which the pool works it off."""

    __slots__ = ("_rate_rows_s", "_window_rows", "_window_started_s", "options")

    def __init__(self, options: QueueOptions, now_s: float) -> None:
        self.options = options
        self._rate_rows_s = 0.0
        self._window_rows = 0
        self._window_started_s = now_s

    def admits(self, queued_rows: int, queued_bytes: int, rows: int, size_bytes: int) -> bool:
        """Whether a request may wait, too. An empty queue takes any request: otherwise a large one could never run."""
        if queued_rows == 0:
            return True
        options = self.options
        return queued_rows + rows <= options.max_rows and queued_bytes + size_bytes <= options.max_bytes

    def served(self, rows: int, now_s: float) -> None:
        """Record that workers have finished `rows` rows."""
        self._window_rows += rows
        elapsed_s = now_s - self._window_started_s
        if elapsed_s >= _WINDOW_S:
            rate = self._window_rows / elapsed_s
            self._rate_rows_s = rate if self._rate_rows_s == 0.0 else 0.5 * (self._rate_rows_s + rate)
            self._window_rows = 0
            self._window_started_s = now_s

    def retry_after_s(self, queued_rows: int) -> int:
        """Whole seconds until the present queue will be worked off, between 1 and 30."""
        if self._rate_rows_s <= 0.0:
            return _SHORTEST_S
        return max(_SHORTEST_S, min(_LONGEST_S, math.ceil(queued_rows / self._rate_rows_s)))
