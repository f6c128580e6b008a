"""After how long a second copy of a request is worth sending: when it is slower than nearly all before it.

Pure: durations are seconds, and somebody else measures them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class HedgePolicy:
    """A copy is sent when a request takes longer than `quantile` of the last `window` ones, and at least `least_s`.

    Before `warm` requests were measured none is sent.
    """

    quantile: float = 0.95
    least_s: float = 0.005
    window: int = 200
    warm: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1 or self.least_s < 0 or not 1 <= self.warm <= self.window:
            raise ValueError("hedge: 0 < quantile < 1, least_s >= 0, 1 <= warm <= window")


class Latencies:
    """The last durations of good answers, in order of time and of size."""

    __slots__ = ("_policy", "_recent", "_sorted")

    def __init__(self, policy: HedgePolicy) -> None:
        self._policy = policy
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, took_s: float) -> None:
        """Add a duration; the oldest is removed."""
        self._recent.append(took_s)
        insort(self._sorted, took_s)
        if len(self._recent) > self._policy.window:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]

    def hedge_after_s(self, policy: HedgePolicy | None = None) -> float | None:
        """Return after how many seconds a copy is sent; None while there are too few durations.

        `policy` None stands for its own; of another one, the window is not looked at.
        """
        asked = policy or self._policy
        count = len(self._sorted)
        if count < asked.warm:
            return None
        rank = min(count - 1, int(asked.quantile * count))
        return max(asked.least_s, self._sorted[rank])
