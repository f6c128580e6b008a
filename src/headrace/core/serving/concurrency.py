"""How many calls of a model may be under way in one worker at a time, where that is to be found out (`auto`).

What counts is what a call takes of a processor. Calls that mostly wait for something else let others in beside them;
when they keep a processor busy, more would only wait for each other. A model that computes therefore stays at one.
What a call could not get of a processor, because others had it, is not waiting: else a model that computes would look
idle on a busy machine. A call of which it takes long to hear is heard of while it is under way.

Requests are put together where that is worth it: where a call for several takes less than half of what as many calls
take. Else, with more than one call at a time, each gets its own.

Pure, and without a clock.
"""

from __future__ import annotations

MOST_CALLS = 1024
"""What one worker may have under way, however little its calls compute."""

LONG_S = 0.1
"""Calls that take this long are made in threads, be it one at a time: the worker can be heard meanwhile."""

_WINDOW_S = 0.25
_IDLE_BELOW = 0.5
_BUSY_ABOVE = 0.9
_AIM = 0.8
_STEP = 8.0
_MEMORY = 1 / 8


class ConcurrencyFinder:
    """Watches the calls of one pool. `limit` is how many a worker may have."""

    __slots__ = (
        "_calls",
        "_cpu_s",
        "_delay_s",
        "_one_s",
        "_several_s",
        "_someone_waited",
        "_typical_s",
        "_wall_s",
        "limit",
    )

    def __init__(self) -> None:
        self.limit = 1
        # How long a call takes; one for one request; one for several, for each of them. None: not known.
        self._typical_s: float | None = None
        self._one_s: float | None = None
        self._several_s: float | None = None
        self._begin()

    def __repr__(self) -> str:
        return f"<ConcurrencyFinder limit={self.limit} apart={self.apart} merges={self.merges}>"

    @property
    def apart(self) -> bool:
        """Whether each call of a worker runs in a thread of its own."""
        return self.limit > 1 or self._typical_s is None or self._typical_s >= LONG_S

    @property
    def merges(self) -> bool:
        """Whether requests are put together: a model that may wait is first seen with one."""
        if self._typical_s is None:
            return False
        if self.limit == 1:
            return True
        return self._one_s is not None and self._several_s is not None and self._several_s < self._one_s / 2

    def answered(self, works: int, wall_s: float, cpu_s: float, delay_s: float, *, others_wait: bool) -> None:
        """A call for so many requests took so long, so much of a processor, and could not get so much of one.

        `others_wait`: requests wait for a worker.
        """
        self._typical_s = _mean(self._typical_s, wall_s)
        if works == 1:
            self._one_s = _mean(self._one_s, wall_s)
        else:
            self._several_s = _mean(self._several_s, wall_s / works)
        self._see(wall_s, cpu_s, delay_s)
        self._someone_waited |= others_wait or works > 1
        if self._wall_s >= _WINDOW_S:
            self._decide(may_grow=self._someone_waited)

    def goes_on(self, wall_s: float, cpu_s: float, delay_s: float) -> None:
        """What `answered` is told, of a call that has not ended: a stream between two pieces."""
        self._typical_s = max(self._typical_s or 0.0, wall_s)
        self._see(wall_s, cpu_s, delay_s)
        self._decide(may_grow=True)

    def _see(self, wall_s: float, cpu_s: float, delay_s: float) -> None:
        self._calls += 1
        self._wall_s += wall_s
        self._cpu_s += cpu_s
        self._delay_s += delay_s

    def _decide(self, *, may_grow: bool) -> None:
        wall_s = max(self._wall_s, 1e-9)
        # Of one call, and what so many beside each other make of a worker's processor; where nobody waits, they are not
        # so many. That they could not get it is not summed up: those that wait for a processor do so at the same time.
        runs = (self._cpu_s + self._delay_s) / wall_s
        busy = max(runs, self.limit * self._cpu_s / wall_s)
        if busy > _BUSY_ABOVE:
            self.limit = max(1, int(self.limit * _AIM / busy)) if self._someone_waited else self.limit
        elif 2 * self._calls < self.limit:
            return  # most have not been heard of since it was raised
        elif busy < _IDLE_BELOW and may_grow:
            self.limit = min(MOST_CALLS, max(self.limit + 1, int(self.limit * min(_STEP, _AIM / max(busy, 0.001)))))
        self._begin()

    def _begin(self) -> None:
        self._calls = 0
        self._wall_s = self._cpu_s = self._delay_s = 0.0
        self._someone_waited = False


def _mean(before: float | None, value: float) -> float:
    """The mean of the last few."""
    return value if before is None else before + (value - before) * _MEMORY
