"""Every number that a gateway counts: plain ints in slots objects, read out as (name, labels, value) triples.

Counting costs an addition; names and labels are only put together when the supervisor asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from headrace.core.telemetry.totals import Labels, Sample
from headrace.core.telemetry.usage import tokens
from headrace_worker.wire import Timing

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WORK_SECONDS = (0.0001, 0.00025, *SECONDS)
STREAM_LIMITS = ("stream_idle_s", "max_stream_s", "max_stream_bytes", "max_streams_per_client")
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """Fixed buckets, cumulative only when read."""

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_since(self, until: float, begun: list[float]) -> None:
        """Count the time from each of `begun` until then."""
        bounds, buckets, total = self.bounds, self.buckets, 0.0
        for since in begun:
            value = until - since
            buckets[bisect_left(bounds, value)] += 1
            total += value
        self.total += total

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """Yield the buckets as Prometheus has them: cumulative, `le` as a label, then sum and count."""
        running = 0
        for bound, count in zip(self.bounds, self.buckets, strict=False):
            running += count
            yield f"{name}_bucket", (*labels, ("le", f"{bound:g}")), running
        running += self.buckets[-1]
        yield f"{name}_bucket", (*labels, ("le", "+Inf")), running
        yield f"{name}_sum", labels, self.total
        yield f"{name}_count", labels, running


class PoolCounters:
    """What is counted for one served version."""

    __slots__ = (
        "batches",
        "cache_coalesced",
        "cache_hits",
        "cache_misses",
        "copies",
        "deadlines",
        "dropped",
        "first_chunk",
        "hung",
        "latency",
        "lost",
        "model_errors",
        "parse",
        "predict",
        "predicts",
        "requests_per_batch",
        "retried",
        "rows",
        "rows_per_batch",
        "serialise",
        "shared_cache",
        "shed",
        "statuses",
        "stream_chunks",
        "stream_limits",
        "stream_tokens",
        "wait",
    )

    def __init__(self) -> None:
        # A rate does not see a series' first value: what an alert waits for is there, as nothing, from the beginning.
        self.statuses: dict[int, int] = {200: 0, 500: 0, 503: 0, 504: 0}
        self.copies: dict[int, int] = {}
        self.batches = self.rows = self.predicts = 0
        # What MLflow's way of telling makes of them and what strict errors do: so that a rate sees the first, too.
        self.model_errors: dict[int, int] = {400: 0, 500: 0}
        self.shed = self.retried = self.deadlines = self.dropped = self.lost = self.hung = 0
        self.cache_hits = self.cache_misses = self.cache_coalesced = 0
        self.shared_cache: dict[str, int] = {}
        self.stream_limits = dict.fromkeys(STREAM_LIMITS, 0)
        self.stream_chunks = 0
        self.stream_tokens = {"input": 0, "output": 0}
        self.first_chunk = Histogram(SECONDS)
        self.latency = Histogram(SECONDS)
        self.wait = Histogram(SECONDS)
        self.requests_per_batch = Histogram(SIZES)
        self.rows_per_batch = Histogram(SIZES)
        self.parse = Histogram(WORK_SECONDS)
        self.predict = Histogram(WORK_SECONDS)
        self.serialise = Histogram(WORK_SECONDS)

    def shared(self, result: str, count: int = 1) -> None:
        """The second level of the cache was asked, or not: hit, miss, failed, skipped, written, unwritten."""
        self.shared_cache[result] = self.shared_cache.get(result, 0) + count

    def chunk(self, data: bytes, first_after_s: float | None) -> None:
        """A piece of a stream; if it is the first of its own, so long after its request came."""
        self.stream_chunks += 1
        if first_after_s is not None:
            self.first_chunk.observe(first_after_s)
        read, written = tokens(data)
        self.stream_tokens["input"] += read
        self.stream_tokens["output"] += written

    def limited(self, limit: str) -> None:
        """A stream was ended, or refused, by the limit of this name."""
        self.stream_limits[limit] += 1

    def batch(self, timing: Timing, requests: int, rows: int) -> None:
        """A worker has answered a frame of so many requests and rows. What took no time was not done at all."""
        self.batches += 1
        self.requests_per_batch.observe(requests)
        self.rows_per_batch.observe(rows)
        self.parse.observe(timing.parse_us / 1e6)
        if timing.predicts:
            self.predicts += timing.predicts
            self.predict.observe(timing.predict_us / 1e6)
            self.serialise.observe(timing.serialise_us / 1e6)

    def model_failed(self, status: int) -> None:
        """An answer with this status is an error of the model's own, or a stream that began with it has broken off."""
        self.model_errors[status] = self.model_errors.get(status, 0) + 1

    def copy_answered(self, status: int) -> None:
        """A copy of a request, for a shadow, was answered: no client was, and nothing else is counted of it."""
        self.copies[status] = self.copies.get(status, 0) + 1

    def samples(self, model: str, version: str) -> Iterator[Sample]:
        """Yield everything, labelled."""
        labels: Labels = (("model", model), ("version", version))
        for status, count in self.copies.items():
            yield "headrace_requests_total", (*labels, ("route", "shadow"), ("status", str(status))), count
        for status, count in self.statuses.items():
            yield "headrace_requests_total", (*labels, ("route", "invocations"), ("status", str(status))), count
        for status, count in self.model_errors.items():
            yield "headrace_model_errors_total", (*labels, ("status", str(status))), count
        for name, value in (
            ("headrace_batches_total", self.batches),
            ("headrace_rows_total", self.rows),
            ("headrace_predicts_total", self.predicts),
            ("headrace_shed_total", self.shed),
            ("headrace_retried_total", self.retried),
            ("headrace_deadline_exceeded_total", self.deadlines),
            ("headrace_dropped_total", self.dropped),
            ("headrace_workers_lost_total", self.lost),
            ("headrace_workers_hung_total", self.hung),
            ("headrace_stream_chunks_total", self.stream_chunks),
        ):
            yield name, labels, value
        for result, value in (
            ("hit", self.cache_hits),
            ("miss", self.cache_misses),
            ("coalesced", self.cache_coalesced),
        ):
            yield "headrace_cache_requests_total", (*labels, ("result", result)), value
        for result, value in self.shared_cache.items():
            yield "headrace_shared_cache_total", (*labels, ("result", result)), value
        for limit, value in self.stream_limits.items():
            yield "headrace_stream_limits_total", (*labels, ("limit", limit)), value
        for kind, value in self.stream_tokens.items():
            yield "headrace_stream_tokens_total", (*labels, ("kind", kind)), value
        yield from self.first_chunk.samples("headrace_stream_first_chunk_seconds", labels)
        yield from self.latency.samples("headrace_request_seconds", labels)
        yield from self.wait.samples("headrace_queue_wait_seconds", labels)
        yield from self.requests_per_batch.samples("headrace_batch_requests", labels)
        yield from self.rows_per_batch.samples("headrace_batch_rows", labels)
        yield from self.parse.samples("headrace_parse_seconds", labels)
        yield from self.predict.samples("headrace_predict_seconds", labels)
        yield from self.serialise.samples("headrace_serialise_seconds", labels)


class GatewayCounters:
    """What is counted for the whole process; `other` by route, model ("": none, or not one of ours) and status."""

    __slots__ = ("connections", "open_connections", "other", "protocols", "refused")

    def __init__(self) -> None:
        self.connections = self.open_connections = 0
        self.refused: dict[str, int] = {}
        self.other: dict[tuple[str, str, int], int] = {}
        self.protocols: dict[tuple[str, str], int] = {}

    def refuse(self, code: str) -> None:
        """A client was turned away before its request was understood."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def spoke(self, protocol: str, model: str) -> None:
        """A model was asked for a prediction in another protocol than MLflow's."""
        self.protocols[protocol, model] = self.protocols.get((protocol, model), 0) + 1

    def samples(self) -> Iterator[Sample]:
        """Yield everything, labelled."""
        for (protocol, model), count in self.protocols.items():
            yield "headrace_protocol_requests_total", (("model", model), ("protocol", protocol)), count
        yield "headrace_connections_total", (), self.connections
        yield "headrace_connections_open", (), self.open_connections
        for code, count in self.refused.items():
            yield "headrace_refused_total", (("code", code),), count
        for (route, model, status), count in self.other.items():
            labels: Labels = (("model", model),) if model else ()
            yield "headrace_requests_total", (*labels, ("route", route), ("status", str(status))), count
