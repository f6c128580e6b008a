"""Every metric of headrace: its name, its type and its meaning, and how they become Prometheus' text.

Names and units follow Prometheus' conventions: counters end in `_total`, durations are seconds, sizes bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]


@dataclass(frozen=True)
class Definition:
    """One metric as the reference page has it."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str


DEFINITIONS: dict[str, Definition] = {
    "headrace_requests_total": Definition("counter", "Requests answered, by model, version, route and status."),
    "headrace_request_seconds": Definition("histogram", "Time from a request's arrival to its answer, in seconds."),
    "headrace_queue_wait_seconds": Definition("histogram", "Time a request waited for a worker, in seconds."),
    "headrace_batch_requests": Definition("histogram", "Requests in a frame that went to a worker."),
    "headrace_batches_total": Definition("counter", "Frames that workers answered."),
    "headrace_rows_total": Definition("counter", "Input rows answered."),
    "headrace_predicts_total": Definition("counter", "Calls of a model's predict."),
    "headrace_parse_seconds_total": Definition("counter", "Time that workers spent parsing requests, in seconds."),
    "headrace_predict_seconds_total": Definition("counter", "Time that workers spent in predict, in seconds."),
    "headrace_serialise_seconds_total": Definition("counter", "Time that workers spent serialising, in seconds."),
    "headrace_model_errors_total": Definition("counter", "Answers that are errors of the model's own."),
    "headrace_shed_total": Definition("counter", "Requests refused because the queue was full."),
    "headrace_retried_total": Definition("counter", "Requests given to another worker after theirs had died."),
    "headrace_deadline_exceeded_total": Definition("counter", "Requests whose deadline passed."),
    "headrace_workers_lost_total": Definition("counter", "Connections to workers that broke."),
    "headrace_workers_hung_total": Definition("counter", "Workers that did not answer in time."),
    "headrace_cache_requests_total": Definition("counter", "Requests that met the cache, by result."),
    "headrace_shared_cache_total": Definition("counter", "Look-ups in the shared cache (Redis), by result."),
    "headrace_shadow_total": Definition("counter", "Copies of requests that a shadow answered, by result."),
    "headrace_connections_total": Definition("counter", "Connections accepted."),
    "headrace_connections_open": Definition("gauge", "Connections that are open."),
    "headrace_refused_total": Definition("counter", "Requests refused before they reached a model, by code."),
    "headrace_queued_requests": Definition("gauge", "Requests that wait for a worker."),
    "headrace_queued_rows": Definition("gauge", "Rows that wait for a worker, as estimated."),
    "headrace_queued_bytes": Definition("gauge", "Bytes that wait for a worker."),
    "headrace_in_flight_requests": Definition("gauge", "Requests that are with a worker."),
    "headrace_hazards_total": Definition("counter", "Hazards of the protocol that happened, by kind."),
    "headrace_model_ready": Definition("gauge", "1 if a worker of the model can take a request, else 0."),
    "headrace_workers_ready": Definition("gauge", "Workers that can take a request."),
    "headrace_worker_restarts_total": Definition("counter", "Workers that were replaced."),
    "headrace_gateway_restarts_total": Definition("counter", "Gateways that were replaced."),
    "headrace_version_info": Definition("gauge", "1 for the version that serves a model."),
    "headrace_registry_reached_timestamp_seconds": Definition("gauge", "When the registry last answered (Unix time)."),
    "headrace_registry_problem": Definition("gauge", "1 while the registry cannot be followed for a model, else 0."),
    "headrace_rollbacks_total": Definition("counter", "Rollbacks, by hand or by themselves."),
}


def exposition(samples: Iterable[Sample]) -> bytes:
    """Prometheus' text format of these samples; what has no definition is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(samples)))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for name, labels, value in self._samples:
            by_name[name].append((dict(labels), value))
        for name, definition in DEFINITIONS.items():
            if definition.kind == "histogram":
                if by_name.get(f"{name}_count"):
                    yield _histogram(name, definition, by_name)
            elif by_name.get(name):
                yield _plain(name, definition, by_name[name])


def _plain(name: str, definition: Definition, found: list[tuple[dict[str, str], float]]) -> Metric:
    keys = sorted({key for labels, _ in found for key in labels})
    made = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = made(name, definition.help, labels=keys)
    for labels, value in found:
        family.add_metric([labels.get(key, "") for key in keys], value)
    return family


def _histogram(
    name: str, definition: Definition, by_name: dict[str, list[tuple[dict[str, str], float]]]
) -> HistogramMetricFamily:
    keys = sorted({key for labels, _ in by_name[f"{name}_count"] for key in labels})
    buckets: dict[tuple[str, ...], list[tuple[str, float]]] = defaultdict(list)
    for labels, value in by_name[f"{name}_bucket"]:
        buckets[tuple(labels.get(key, "") for key in keys)].append((labels["le"], value))
    family = HistogramMetricFamily(name, definition.help, labels=keys)
    for labels, value in by_name[f"{name}_sum"]:
        one = tuple(labels.get(key, "") for key in keys)
        family.add_metric(list(one), buckets=sorted(buckets[one], key=lambda b: float(b[0])), sum_value=value)
    return family
