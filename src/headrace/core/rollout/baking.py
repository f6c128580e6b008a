"""Judges a version that has just taken over: compares its errors and latency with those of another version.

Pure: counters go in, a verdict comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.core.telemetry.counts import VersionCounts
from headrace.core.telemetry.recent import Figures


@dataclass(frozen=True)
class BakeLimits:
    """When a version is sent back.

    When its share of errors is `max_error_rate` above the former version's, or its median latency `max_latency_ratio`
    times the former's (and more than `latency_floor_s`: small numbers vary by themselves). Nothing is judged before
    `min_requests` answers.
    """

    max_error_rate: float = 0.05
    max_latency_ratio: float = 4.0
    min_requests: int = 20
    latency_floor_s: float = 0.05


@dataclass(frozen=True)
class Conduct:
    """Figures of a version: number of answers, share of errors, median latency (None: not known)."""

    requests: float = 0.0
    error_rate: float = 0.0
    median_s: float | None = None

    @classmethod
    def of(cls, figures: Figures) -> Conduct:
        """The figures of the last minutes."""
        return cls(round(figures.requests_per_s * figures.over_s), figures.error_rate or 0.0, figures.p50_s)

    @classmethod
    def counted(cls, counts: VersionCounts) -> Conduct:
        """The figures of these counts."""
        error_rate = counts.errors / counts.requests if counts.requests else 0.0
        return cls(counts.requests, error_rate, counts.median_s())


def baseline(past: Conduct, same: Conduct, limits: BakeLimits) -> Conduct:
    """What a version beside another is compared with: what that one does in the `same` time, where that says enough.

    Else what it did in the `past` minutes; where both say too little, the one that says more.
    """
    return same if same.requests >= limits.min_requests or same.requests >= past.requests else past


def verdict(before: Conduct, after: Conduct, limits: BakeLimits, former: str) -> str | None:
    """Why the new version is to be sent back; None if it does well or too little is known. `before`: of `former`."""
    if after.requests < limits.min_requests:
        return None
    if after.error_rate > before.error_rate + limits.max_error_rate:
        was = f"{before.error_rate:.1%} with {former}"
        return f"{after.error_rate:.1%} of {after.requests:.0f} answers were errors ({was})"
    was_s, is_s = before.median_s, after.median_s
    if was_s is None or is_s is None or before.requests < limits.min_requests:
        return None
    if is_s > limits.latency_floor_s and is_s > was_s * limits.max_latency_ratio:
        return f"its median latency is {is_s * 1000:.1f} ms ({was_s * 1000:.1f} ms with {former})"
    return None
