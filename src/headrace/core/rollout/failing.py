"""Detects a version that fails on most requests: it is ready, but of no use."""

from __future__ import annotations

from dataclasses import dataclass

MOST_REMEMBERED = 20.0
"""About so many of the last answers count: a version that is repaired is well again after as many good ones."""

FAILING_SHARE = 0.5
WELL_SHARE = 0.25
LEAST_FAILURES = 3.0


@dataclass
class FailureWatch:
    """Fed with a version's answers, however many there are at a time and however far apart.

    It is failing from `LEAST_FAILURES` on, where at least `FAILING_SHARE` of the last answers were failures, until less
    than `WELL_SHARE` are. Requests that are the caller's fault, and those refused for lack of room, count for neither.
    `since_s` is when it began, on the caller's clock; None while it is well.
    """

    since_s: float | None = None
    _good: float = 0.0
    _failed: float = 0.0

    @property
    def share(self) -> float:
        """The share of failures in the last answers, 0 to 1."""
        answers = self._good + self._failed
        return self._failed / answers if answers else 0.0

    def example_failed(self, now_s: float) -> None:
        """The example of the version failed at its bring-up, and nothing newer is known."""
        self.feed(0.0, LEAST_FAILURES, now_s)

    def feed(self, good: float, failed: float, now_s: float) -> bool:
        """Add answers. Returns whether the version has begun or stopped failing."""
        if good <= 0 and failed <= 0:
            return False
        was = self.since_s is not None
        self._good += max(0.0, good)
        self._failed += max(0.0, failed)
        too_many = (self._good + self._failed) / MOST_REMEMBERED
        if too_many > 1:
            self._good /= too_many
            self._failed /= too_many
        if not was and self._failed >= LEAST_FAILURES and self.share >= FAILING_SHARE:
            self.since_s = now_s
        elif was and self.share < WELL_SHARE:
            self.since_s = None
        return was is not (self.since_s is not None)
