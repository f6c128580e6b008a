"""The last minutes of what the gateways counted: rates, latency quantiles and shares over any part of them.

Pure: cumulative samples go in at intervals, with the time as a number. Memory is bounded: a version costs some 50 kB
from its first request until it has had none for as long as is kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headrace.core.telemetry.counts import NO_VERSION, VersionCounts, quantile, read_counts
from headrace.core.telemetry.totals import Sample

_REQUESTS, _ERRORS, _REJECTED, _HITS, _LOOKED_UP, _ROWS, _BATCHES, _BATCHED, _BUCKETS = range(9)


@dataclass(frozen=True)
class Figures:
    """What happened within `over_s` seconds. None: nothing happened that it could be told from.

    `error_rate` is the share of answers that are errors and not the caller's fault (as in `core.telemetry.counts`),
    `rejected_rate` that of the caller's; a request counts as a cache hit also when it shared another's flight. Rows are
    those that workers answered; `rows_per_batch` and `requests_per_batch` are means over the batches of one predict.
    `queued` and `in_flight` are requests, at the end.
    """

    over_s: float = 0.0
    requests_per_s: float = 0.0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    error_rate: float | None = None
    rejected_rate: float | None = None
    cache_hit_rate: float | None = None
    rows_per_s: float = 0.0
    rows_per_batch: float | None = None
    requests_per_batch: float | None = None
    queued: int = 0
    in_flight: int = 0


@dataclass(frozen=True)
class Point:
    """A group of steps in a chart; `at_s` is its end on the caller's clock."""

    at_s: float
    figures: Figures


class _Past:
    """One version's steps: a ring for each thing counted, all of one length."""

    __slots__ = ("active", "rings")

    def __init__(self, width: int, steps: int) -> None:
        self.rings = [array("I", bytes(array("I").itemsize * steps)) for _ in range(width)]
        self.active = 0


class Recent:
    """Keeps the last `steps` intervals between two calls of `feed`."""

    def __init__(self, steps: int = 450) -> None:
        self.fed = 0
        self._steps = steps
        self._at_s = array("d", bytes(8 * (steps + 1)))
        self._bounds: tuple[float, ...] = ()
        self._last: dict[tuple[str, str], VersionCounts] = {}
        # By model, then by version: whoever shows every model looks at each once.
        self._counted: dict[str, dict[str, VersionCounts]] = {}
        self._past: dict[str, dict[str, _Past]] = {}

    def feed(self, samples: Iterable[Sample], now_s: float) -> None:
        """Take what is counted in all up to now. The first call counts from zero, at that moment."""
        counted = read_counts(samples)
        if not self._bounds:
            self._bounds = tuple(sorted({bound for one in counted.values() for bound in one.buckets}))
        self.fed += 1
        self._at_s[self.fed % (self._steps + 1)] = now_s
        index = self.fed % self._steps
        for versions in self._past.values():
            for past in versions.values():
                for ring in past.rings:
                    ring[index] = 0
        self._counted = {}
        for key, now in counted.items():
            self._counted.setdefault(key[0], {})[key[1]] = now
            self._step(key, index, now, self._last.get(key, VersionCounts()))
        self._last = counted
        forgotten = self.fed - self._steps
        active = {of: {v: p for v, p in its.items() if p.active > forgotten} for of, its in self._past.items()}
        self._past = {of: its for of, its in active.items() if its}

    @property
    def counts(self) -> Mapping[tuple[str, str], VersionCounts]:
        """What is counted in all, by (model, version), as it was fed last."""
        return self._last

    def versions(self, model: str) -> list[str]:
        """The versions of a model that had requests, in the order of their first."""
        return [version for version in self._past.get(model, {}) if version != NO_VERSION]

    def figures(self, model: str, version: str | None = None, *, steps: int = 5) -> Figures:
        """The last `steps` intervals of one version, or of the whole model."""
        return self._figures(self._pasts(model, version), self._counts(model, version), self.fed, steps)

    def points(self, model: str, version: str | None = None, *, steps: int = 3) -> list[Point]:
        """All that is kept, oldest first, as groups of so many intervals that stay what they are from call to call."""
        pasts = self._pasts(model, version)
        return [Point(self._time(end), self._figures(pasts, [], end, steps)) for end in self._ends(steps)]

    def rates(self, model: str, *, steps: int = 6) -> list[float]:
        """Requests per second, as `points` has them: little work, for many models at once."""
        rings = [past.rings[_REQUESTS] for past in self._pasts(model, None)]
        groups = [(end, min(steps, end - 1)) for end in self._ends(steps)]
        return [self._sum(rings, end, n) / (self._time(end) - self._time(end - n) or 1.0) for end, n in groups]

    def requests(self, model: str) -> int:
        """How many requests there were in all that is kept: little work, too."""
        return sum(sum(past.rings[_REQUESTS]) for past in self._pasts(model, None))

    def _step(self, key: tuple[str, str], index: int, now: VersionCounts, was: VersionCounts) -> None:
        since = now.since(was)
        gone_by = [since.requests, since.errors, since.rejected, since.cache_hits, since.cache_lookups]
        gone_by += [since.rows, since.batches, since.batched]
        past = self._past.get(key[0], {}).get(key[1])
        if past is None:
            untimed = key[1] == NO_VERSION
            if not (any(gone_by) or now.queued) or not (self._bounds or untimed):
                return
            past = _Past(_BUCKETS + (0 if untimed else len(self._bounds)), self._steps)
            self._past.setdefault(key[0], {})[key[1]] = past
        if any(gone_by) or now.queued:
            past.active = self.fed
        below = 0.0
        for bound in self._bounds:
            up_to = since.buckets.get(bound, 0.0)
            gone_by.append(up_to - below)
            below = up_to
        for ring, value in zip(past.rings, gone_by, strict=False):
            ring[index] = max(0, int(value))

    def _pasts(self, model: str, version: str | None) -> list[_Past]:
        return [p for label, p in self._past.get(model, {}).items() if version in {None, label}]

    def _counts(self, model: str, version: str | None) -> list[VersionCounts]:
        return [c for label, c in self._counted.get(model, {}).items() if version in {None, label}]

    def _figures(self, pasts: list[_Past], counts: list[VersionCounts], end: int, steps: int) -> Figures:
        steps = min(steps, end - 1, self._steps - 1)
        if steps <= 0:
            return Figures()
        over_s = self._time(end) - self._time(end - steps)
        width = _BUCKETS + len(self._bounds)
        total = [self._sum([p.rings[i] for p in pasts if i < len(p.rings)], end, steps) for i in range(width)]
        requests, looked_up, batches = total[_REQUESTS], total[_LOOKED_UP], total[_BATCHES]
        return Figures(
            over_s=over_s,
            requests_per_s=requests / over_s if over_s > 0 else 0.0,
            p50_s=quantile(self._bounds, total[_BUCKETS:], 0.5),
            p95_s=quantile(self._bounds, total[_BUCKETS:], 0.95),
            p99_s=quantile(self._bounds, total[_BUCKETS:], 0.99),
            error_rate=total[_ERRORS] / requests if requests else None,
            rejected_rate=total[_REJECTED] / requests if requests else None,
            cache_hit_rate=total[_HITS] / looked_up if looked_up else None,
            rows_per_s=total[_ROWS] / over_s if over_s > 0 else 0.0,
            rows_per_batch=total[_ROWS] / batches if batches else None,
            requests_per_batch=total[_BATCHED] / batches if batches else None,
            queued=int(sum(c.queued for c in counts)),
            in_flight=int(sum(c.in_flight for c in counts)),
        )

    def _ends(self, steps: int) -> range:
        """The last interval of each group. The first group is whole, but for the very first that there was."""
        oldest = max(1, self.fed - self._steps + 1)
        begin = 0 if self.fed < self._steps and steps > 1 else -(-oldest // steps) * steps
        return range(begin + steps - 1, self.fed + 1, steps)

    def _sum(self, rings: list[array[int]], end: int, steps: int) -> int:
        """What the `steps` intervals up to and with `end` have, added up."""
        last = end % self._steps + 1
        first = last - steps
        if first >= 0:
            return sum(sum(ring[first:last]) for ring in rings)
        return sum(sum(ring[first:]) + sum(ring[:last]) for ring in rings)

    def _time(self, number: int) -> float:
        return self._at_s[number % (self._steps + 1)]
