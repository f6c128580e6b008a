"""How metrics become Prometheus' text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from headrace.core.escaping import printable
from headrace.core.telemetry.totals import Sample
from headrace.telemetry.metrics import DEFINITIONS, Definition


def exposition(samples: Iterable[Sample]) -> bytes:
    """Prometheus' text format of these samples; what has no definition is left out. Takes about 7 us a sample."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(samples)))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for name, labels, value in self._samples:
            by_name[name].append(({key: printable(text) for key, text in labels}, value))
        for name, definition in DEFINITIONS.items():
            if definition.kind == "histogram":
                if by_name.get(f"{name}_count"):
                    yield _histogram(name, definition, by_name)
            elif by_name.get(name):
                yield _plain(name, definition, by_name[name])


def _plain(name: str, definition: Definition, found: list[tuple[dict[str, str], float]]) -> Metric:
    made = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = made(name, definition.help, labels=definition.labels)
    for labels, value in found:
        family.add_metric([labels.get(key, "") for key in definition.labels], value)
    return family


def _histogram(
    name: str, definition: Definition, by_name: dict[str, list[tuple[dict[str, str], float]]]
) -> HistogramMetricFamily:
    keys = definition.labels
    buckets: dict[tuple[str, ...], list[tuple[str, float]]] = defaultdict(list)
    for labels, value in by_name[f"{name}_bucket"]:
        buckets[tuple(labels.get(key, "") for key in keys)].append((labels["le"], value))
    family = HistogramMetricFamily(name, definition.help, labels=keys)
    for labels, value in by_name[f"{name}_sum"]:
        one = tuple(labels.get(key, "") for key in keys)
        family.add_metric(list(one), buckets=sorted(buckets[one], key=lambda b: float(b[0])), sum_value=value)
    return family
