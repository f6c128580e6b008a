"""The circuit breaker of the second level of the prediction cache, which may be slow or dead.

Closed, it is asked. After `failures` in a row it opens, and is not asked by anybody; what tries it again is a probe of
the caller's own, after the times that `next_probe_s` says, so that no request is made to wait for the answer
to the question of whether it lives. It begins open: nothing is known yet.

Pure: time is a number of seconds on a clock that does not go back.
"""

from __future__ import annotations

_FIRST_S = 0.5
_MOST_S = 10.0


class Breaker:
    """`closed`: it may be asked."""

    __slots__ = ("_failures", "_in_a_row", "_wait_s", "closed")

    def __init__(self, failures: int = 3) -> None:
        if failures < 1:
            raise ValueError(f"failures: expected at least 1, got {failures}")
        self.closed = False
        self._failures = failures
        self._in_a_row = 0
        self._wait_s = 0.0

    def __repr__(self) -> str:
        return f"<Breaker {'closed' if self.closed else 'open'} failures={self._in_a_row}>"

    def worked(self) -> None:
        """It answered in time, a request or the probe."""
        self.closed = True
        self._in_a_row = 0
        self._wait_s = 0.0

    def failed(self) -> bool:
        """It did not answer a request in time, or with an error; True: this opened the breaker, probe it."""
        self._in_a_row += 1
        if self.closed and self._in_a_row >= self._failures:
            self.closed = False
            return True
        return False

    def next_probe_s(self) -> float:
        """The seconds until the next probe: half a second after it opened, then twice as long each time, at most 10."""
        self._wait_s = min(_MOST_S, self._wait_s * 2.0) if self._wait_s else _FIRST_S
        return self._wait_s
