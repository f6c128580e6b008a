"""How many calls of a model may be under way in one worker at a time, where that is to be found out (`auto`).

What counts is how busy calls keep their workers' processors. While requests wait although the processors mostly do not
work, calls wait for something else, and more of them may go on beside each other; when the processors are kept busy,
more calls would only wait for each other. A model that computes therefore stays at one.

Pure, and without a clock.
"""

from __future__ import annotations

MOST_CALLS = 256
"""What one worker may have under way, however little its calls compute."""

_WINDOW_S = 0.25
_IDLE_BELOW = 0.5
_BUSY_ABOVE = 0.9
_AIM = 0.8
_STEP = 8.0


class Company:
    """Watches the calls of one pool. `limit` is how many a worker may have."""

    __slots__ = ("_calls", "_cpu_s", "_someone_waited", "_wall_s", "limit")

    def __init__(self) -> None:
        self.limit = 1
        self._begin()

    def answered(self, wall_s: float, cpu_s: float, *, others_wait: bool) -> None:
        """A call has taken so long, and so much of a processor; `others_wait`: requests wait or waited for a worker."""
        self._calls += 1
        self._wall_s += wall_s
        self._cpu_s += cpu_s
        self._someone_waited |= others_wait
        if self._wall_s < _WINDOW_S:
            return
        # What so many calls beside each other make of a worker's processor; where nobody waits, they are not so many.
        busy = self.limit * self._cpu_s / self._wall_s
        if busy > _BUSY_ABOVE:
            self.limit = max(1, int(self.limit * _AIM / busy)) if self._someone_waited else self.limit
        elif self._calls < self.limit:
            return  # there are some that have not been heard of
        elif busy < _IDLE_BELOW and self._someone_waited:
            self.limit = min(MOST_CALLS, max(self.limit + 1, int(self.limit * min(_STEP, _AIM / max(busy, 0.001)))))
        self._begin()

    def _begin(self) -> None:
        self._calls = 0
        self._wall_s = self._cpu_s = 0.0
        self._someone_waited = False
