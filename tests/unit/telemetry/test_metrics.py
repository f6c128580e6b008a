"""Prometheus' text of what was counted."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.telemetry.totals import Sample, is_counter
from headrace.telemetry.exposition import exposition
from headrace.telemetry.metrics import DEFINITIONS, GROUPS

HISTOGRAM = next(name for name, one in DEFINITIONS.items() if one.kind == "histogram")


def sample_of(name: str) -> list[Sample]:
    """A sample of each kind that a metric has."""
    definition = DEFINITIONS[name]
    labels = tuple((key, "x") for key in definition.labels)
    if definition.kind != "histogram":
        return [(name, labels, 3.0)]
    buckets: list[Sample] = [(f"{name}_bucket", (*labels, ("le", le)), n) for le, n in (("+Inf", 5.0), ("0.1", 2.0))]
    return [*buckets, (f"{name}_sum", labels, 1.5), (f"{name}_count", labels, 5.0)]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_metric_is_told_with_its_help_and_its_labels(name: str) -> None:
    (family,) = text_string_to_metric_families(exposition(sample_of(name)).decode())
    definition = DEFINITIONS[name]
    assert (family.type, family.documentation) == (definition.kind, definition.help)
    assert family.name == name.removesuffix("_total") if definition.kind == "counter" else family.name == name
    assert all(set(one.labels) - {"le"} == set(definition.labels) for one in family.samples)
    assert (definition.kind == "counter") is (is_counter(name) and definition.kind != "histogram")


def test_no_metric_stands_in_two_groups() -> None:
    assert sum(map(len, GROUPS.values())) == len(DEFINITIONS)


def test_buckets_come_in_order_and_belong_to_their_labels() -> None:
    keys = DEFINITIONS[HISTOGRAM].labels
    samples = []
    for value, count in (("a", 5.0), ("b", 7.0)):
        labels = tuple((key, value) for key in keys)
        for le, n in (("+Inf", count), ("10", count - 1), ("0.5", 1.0), ("2", 2.0)):
            samples.append((f"{HISTOGRAM}_bucket", (*labels, ("le", le)), n))
        samples += [(f"{HISTOGRAM}_sum", labels, count * 2), (f"{HISTOGRAM}_count", labels, count)]
    (family,) = text_string_to_metric_families(exposition(samples).decode())
    found = [(one.labels[keys[0]], float(one.labels["le"]), one.value) for one in family.samples if "le" in one.labels]
    assert found == [
        ("a", 0.5, 1.0), ("a", 2.0, 2.0), ("a", 10.0, 4.0), ("a", math.inf, 5.0),
        ("b", 0.5, 1.0), ("b", 2.0, 2.0), ("b", 10.0, 6.0), ("b", math.inf, 7.0),
    ]  # fmt: skip
    sums = [one.value for one in family.samples if one.name.endswith("_sum")]
    assert sums == [10.0, 14.0]


def test_what_nobody_has_defined_is_left_out() -> None:
    assert exposition([("headrace_secret_total", (), 1.0)]) == b""
    assert exposition([]) == b""


def test_a_label_that_would_break_the_text_does_not() -> None:
    name = "headrace_registry_problem"
    text = exposition([(name, (("model", 'a"b\n\x1b\\'),), 1.0)]).decode()
    (family,) = text_string_to_metric_families(text)
    assert len(family.samples) == 1
    assert "\x1b" not in text
