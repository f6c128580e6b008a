"""How many replicas of a version there should be, by what its gateways report of its load.

More where requests wait longer than they may, and at once; fewer when for `idle_s` on end fewer would have done. A
number that proved too small is gone back to later each time: load between two numbers does not swing between them.

Pure: time is a number of seconds on any clock that does not go back.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

_SETTLES_S = 1.0
"""What waited before the last replica came is worked off first: so long nothing is judged."""
_FULL = 0.8
"""A replica that computes for this share of the time has no room left for chance."""
_LONGEST_HOLD = 16
"""How many times `idle_s` a number that proved too small is avoided at most."""


@dataclass(frozen=True)
class Bounds:
    """Between how many replicas there are, how long a request may wait for one, and after how long there are fewer.

    `least` equal to `most`: the number is fixed.
    """

    least: int
    most: int
    target_wait_s: float = 0.1
    idle_s: float = 60.0

    @classmethod
    def fixed(cls, replicas: int) -> Bounds:
        """Always so many."""
        return cls(replicas, replicas)

    @property
    def follows(self) -> bool:
        """Whether the number goes by the load."""
        return self.least != self.most

    @property
    def first(self) -> int:
        """How many there are at the start: to see that a version works, there must be one."""
        return max(1, self.least)


@dataclass(frozen=True)
class Load:
    """What a look at a version found: requests that wait or are in work, their wait, and how many replicas compute.

    `wait_s` is what those waited on average that were answered since the look before, or what the one has waited that
    waits longest, whichever is more. `busy` is on average, or of now, whichever is more.
    """

    asked: int = 0
    wait_s: float = 0.0
    busy: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anybody asks for anything."""
        return self.asked > 0 or self.busy > 0.0


class Scaling:
    """Decides for one version. `wanted` is how many there should be, `why` says since when that is so, in words."""

    def __init__(self, bounds: Bounds, now_s: float, wanted: int | None = None) -> None:
        self.bounds = bounds
        self.wanted = bounds.first if wanted is None else min(max(wanted, bounds.first), max(1, bounds.most))
        self.why = "as configured" if not bounds.follows else "at the start"
        self._changed_s = now_s
        self._full_s: float | None = None
        self._needs: deque[tuple[float, int]] = deque()
        self._too_few = 0
        self._hold_s = bounds.idle_s
        self._held_until_s = now_s

    def __repr__(self) -> str:
        return f"<Scaling {self.bounds.least}..{self.bounds.most} wanted={self.wanted}: {self.why}>"

    def configure(self, bounds: Bounds, now_s: float) -> bool:
        """Go by other bounds; returns whether another number is wanted now."""
        if bounds == self.bounds:
            return False
        self.bounds, self._hold_s, self._too_few = bounds, bounds.idle_s, 0
        self._changed_s = now_s  # what was needed before is not known by these
        self._needs.clear()
        # One that sleeps goes on sleeping where it may.
        wanted = min(max(self.wanted, bounds.least), bounds.most)
        if wanted == self.wanted:
            self.why = self.why if bounds.follows else "as configured"
            return False
        return self._become(wanted, "as configured", now_s)

    def succeed(self, wanted: int, now_s: float) -> bool:
        """Take over the load of a version that had so many; returns whether another number is wanted now."""
        wanted = min(wanted, self.bounds.most)
        return self.bounds.follows and wanted > self.wanted and self._become(wanted, "it takes over the load", now_s)

    def look(self, load: Load, ready: int, now_s: float) -> bool:
        """See what there is, with `ready` replicas that take requests; returns whether another number is wanted now."""
        if not self.bounds.follows:
            return False
        need, why = self._need(load, ready, now_s)
        needs = self._needs
        while needs and needs[-1][1] <= need:
            needs.pop()
        needs.append((now_s, need))
        while needs[0][0] < now_s - self.bounds.idle_s:
            needs.popleft()
        if need > self.wanted:
            if load.wait_s > self.bounds.target_wait_s and self.wanted:
                self._was_too_few(now_s)
            return self._become(need, why, now_s)
        fewer = max(needs[0][1], self.bounds.least)
        if fewer >= self.wanted or now_s - self._changed_s < self.bounds.idle_s:
            return False
        if 0 < fewer <= self._too_few and now_s < self._held_until_s:
            fewer = self._too_few + 1
            if fewer >= self.wanted:
                return False
        return self._become(fewer, f"no more were needed for {self.bounds.idle_s:g} s", now_s)

    def _need(self, load: Load, ready: int, now_s: float) -> tuple[int, str]:
        """How many replicas this load needs, and why."""
        wanted, most = self.wanted, self.bounds.most
        if not load.any:
            return self.bounds.least, ""
        if ready < max(wanted, 1):
            # What waits, waits for those that come: that says nothing of how many there should be.
            self._full_s = None
            return max(1, wanted), "it is asked for"
        if self._full_s is None:
            self._full_s = now_s
        if load.wait_s > self.bounds.target_wait_s:
            settled = now_s - max(self._full_s, self._changed_s) >= _SETTLES_S
            more = wanted + max(1, wanted // 2) if settled else wanted
            told = f"requests waited {load.wait_s * 1000:.0f} ms, {self.bounds.target_wait_s * 1000:g} ms are wanted"
            return min(most, more), told
        return min(wanted, max(1, self.bounds.least, math.ceil(load.busy / _FULL))), ""

    def _was_too_few(self, now_s: float) -> None:
        again = self.wanted <= self._too_few
        self._hold_s = min(2 * self._hold_s, _LONGEST_HOLD * self.bounds.idle_s) if again else 2 * self.bounds.idle_s
        self._too_few, self._held_until_s = self.wanted, now_s + self._hold_s

    def _become(self, wanted: int, why: str, now_s: float) -> bool:
        self.wanted, self.why = wanted, why
        self._changed_s, self._full_s = now_s, None
        return True
