"""Whether a version that has just taken over does well: its errors and latency beside those of another.

Pure: counters go in, a verdict comes out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.core.recent import Figures
from headrace.core.totals import Sample


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
    """How a version did: so many answers, the share of errors in them, the median latency (None: not known)."""

    requests: float = 0.0
    error_rate: float = 0.0
    median_s: float | None = None

    @classmethod
    def of(cls, figures: Figures) -> Conduct:
        """What happened in the last minutes."""
        return cls(round(figures.requests_per_s * figures.over_s), figures.error_rate or 0.0, figures.p50_s)


@dataclass
class Window:
    """What was counted for one version: answers, errors that are not the caller's fault, latency buckets."""

    requests: float = 0.0
    errors: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)

    def minus(self, earlier: Window) -> Window:
        """What was counted since `earlier`."""
        return Window(
            self.requests - earlier.requests,
            self.errors - earlier.errors,
            {le: n - earlier.buckets.get(le, 0.0) for le, n in self.buckets.items()},
        )

    @property
    def conduct(self) -> Conduct:
        """What it comes to."""
        return Conduct(self.requests, self.errors / self.requests if self.requests else 0.0, self._median_s())

    def _median_s(self) -> float | None:
        bounds = sorted(self.buckets.items())
        if not bounds or bounds[-1][1] <= 0:
            return None
        half, below_s, below_n = bounds[-1][1] / 2, 0.0, 0.0
        for le_s, count in bounds:
            if count >= half:
                if le_s == float("inf") or count == below_n:
                    return below_s
                return below_s + (le_s - below_s) * (half - below_n) / (count - below_n)
            below_s, below_n = le_s, count
        return below_s


def window(samples: Iterable[Sample], model: str, version: str) -> Window:
    """Read one version's window out of the gateways' samples: as `model` serves it, others may as well.

    Copies of requests for a shadow are none that anybody waits for.
    """
    made = Window()
    for name, labels, value in samples:
        by_name = dict(labels)
        if (by_name.get("model"), by_name.get("version")) != (model, version):
            continue
        if name == "headrace_requests_total" and by_name.get("route") != "shadow":
            made.requests += value
            made.errors += value if by_name.get("status", "").startswith("5") else 0.0
        elif name == "headrace_model_errors_total" and by_name.get("status", "") < "500":
            made.errors += value  # told as the caller's, or streams that broke off; the others are among the requests
        elif name == "headrace_request_seconds_bucket":
            le_s = float(by_name["le"])
            made.buckets[le_s] = made.buckets.get(le_s, 0.0) + value
    return made


def baseline(past: Conduct, same: Conduct, limits: BakeLimits) -> Conduct:
    """What a version beside another is compared with: what that one does in the `same` time, where that says enough.

    Else what it did in the `past` minutes; where both say too little, the one that says more.
    """
    return same if same.requests >= limits.min_requests or same.requests >= past.requests else past


def verdict(before: Conduct, after: Conduct, limits: BakeLimits, former: str) -> str | None:
    """Why the new version should go, or None: it does well so far, or too little is known. `before` is `former`'s."""
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
