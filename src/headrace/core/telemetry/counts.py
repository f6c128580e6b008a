"""What the gateways have counted for each version, as a struct: read from their samples here and nowhere else.

The rules of what is an error and what is the caller's fault are here, too, and the quantile of a histogram.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from headrace.core.telemetry.totals import Sample

NO_VERSION = ""
"""Stands for the version of requests that no version could take: they are the model's, too."""


@dataclass
class VersionCounts:
    """Counts of one version of a model, in all or over a while.

    `errors` are answers that are not the caller's fault, `shed` those of them that were refused for lack of room or of
    a worker, `rejected` those that are the caller's. A request counts as a cache hit also when it shared another's
    flight. `rows`, `batches` and `batched` (requests) are what workers answered together. `queued` and `in_flight` are
    requests at the moment. `copies` are those for a shadow, by result. `buckets` of the latency: by upper bound in
    seconds, each with what is below it.
    """

    requests: float = 0.0
    errors: float = 0.0
    shed: float = 0.0
    rejected: float = 0.0
    cache_hits: float = 0.0
    cache_lookups: float = 0.0
    rows: float = 0.0
    batches: float = 0.0
    batched: float = 0.0
    queued: float = 0.0
    in_flight: float = 0.0
    copies: dict[str, float] = field(default_factory=dict)
    buckets: dict[float, float] = field(default_factory=dict)

    def since(self, earlier: VersionCounts) -> VersionCounts:
        """What was counted after `earlier`; what is there at the moment stays as it is."""
        return VersionCounts(
            requests=self.requests - earlier.requests,
            errors=self.errors - earlier.errors,
            shed=self.shed - earlier.shed,
            rejected=self.rejected - earlier.rejected,
            cache_hits=self.cache_hits - earlier.cache_hits,
            cache_lookups=self.cache_lookups - earlier.cache_lookups,
            rows=self.rows - earlier.rows,
            batches=self.batches - earlier.batches,
            batched=self.batched - earlier.batched,
            queued=self.queued,
            in_flight=self.in_flight,
            copies={result: count - earlier.copies.get(result, 0.0) for result, count in self.copies.items()},
            buckets={bound: count - earlier.buckets.get(bound, 0.0) for bound, count in self.buckets.items()},
        )

    def median_s(self) -> float | None:
        """The median latency in seconds; None where nothing was counted."""
        bounds = sorted(self.buckets)
        below, counts = 0.0, []
        for bound in bounds:
            counts.append(self.buckets[bound] - below)
            below = self.buckets[bound]
        return quantile(bounds, counts, 0.5)


def read_counts(samples: Iterable[Sample]) -> dict[tuple[str, str], VersionCounts]:
    """{(model, version): counts} of the gateways' samples; `NO_VERSION` as above.

    Copies of requests for a shadow are no client's requests, and are left out.
    """
    made: dict[tuple[str, str], VersionCounts] = {}
    for name, labels, value in samples:
        told = dict(labels)
        model = told.get("model")
        version = told.get("version", NO_VERSION if name == "headrace_requests_total" else None)
        if model is not None and version is not None:
            _add(made.setdefault((model, version), VersionCounts()), name, told, value)
    return made


def _add(counts: VersionCounts, name: str, labels: dict[str, str], value: float) -> None:
    if name == "headrace_request_seconds_bucket":
        bound_s = float(labels["le"])
        counts.buckets[bound_s] = counts.buckets.get(bound_s, 0.0) + value
    elif name == "headrace_requests_total" and labels.get("route") != "shadow":
        counts.requests += value
        if labels["status"] >= "500":
            counts.errors += value
            counts.shed += value if labels["status"] == "503" else 0.0
        elif labels["status"] >= "400":
            counts.rejected += value
    elif name == "headrace_model_errors_total" and labels["status"] < "500":
        # The model's own failures that MLflow's server reports as the caller's, with a status of 400, and streams that
        # broke off; those with a status of 500 are among the requests.
        counts.errors += value
        if labels["status"] >= "400":
            counts.rejected -= value
    elif name == "headrace_cache_requests_total":
        counts.cache_lookups += value
        if labels["result"] != "miss":
            counts.cache_hits += value
    elif name == "headrace_rows_total":
        counts.rows += value
    elif name == "headrace_batches_total":
        counts.batches += value
    elif name == "headrace_batch_requests_sum":
        counts.batched += value
    elif name == "headrace_shadow_total":
        counts.copies[labels["result"]] = counts.copies.get(labels["result"], 0.0) + value
    elif name == "headrace_queued_requests":
        counts.queued += value
    elif name == "headrace_in_flight_requests":
        counts.in_flight += value


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """As Prometheus' histogram_quantile: linear within a bucket; what is above all bounds is the highest.

    `counts` are those of each bucket alone, `bounds` their upper bounds in order; None where nothing was counted.
    """
    rank, below, lower = share * sum(counts), 0.0, 0.0
    if rank <= 0:
        return None
    for bound, count in zip(bounds, counts, strict=True):
        if below + count >= rank:
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return lower
