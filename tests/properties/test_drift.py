"""Shares of labels: they sum up to one, nothing is lost, and a distance behaves like one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.telemetry.drift import MAX_TRACKED, OTHER, Drift, Tally, distance

LABELS = st.text("abcdefghij", min_size=1, max_size=2)
PREDICTIONS = st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(["m/1", "m/2", "m/3"]), LABELS), max_size=60)


def tally(labels: list[str]) -> Tally:
    made = Tally()
    for label in labels:
        made.add(label)
    return made


@given(PREDICTIONS, st.integers(0, 5), st.floats(1, 1e5))
def test_nothing_is_lost_and_shares_sum_up_to_one(
    predictions: list[tuple[float, str, str]], most: int, step_s: float
) -> None:
    drift = Drift(step_s)
    for at_s, version, label in predictions:
        drift.add(at_s, version, label)
    for tallies in (drift.by_version, drift.by_time):
        assert sum(one.total for one in tallies.values()) == len(predictions)
    top = drift.top_labels(most)
    assert len(top) <= most
    for one in [*drift.by_version.values(), *drift.by_time.values()]:
        shares = one.shares(top)
        assert math.isclose(sum(shares.values()), 1.0)
        assert set(shares) <= {*top, OTHER}
        assert all(math.isclose(shares[label], one.counts[label] / one.total) for label in top if label != OTHER)


@given(st.lists(LABELS, min_size=1), st.lists(LABELS, min_size=1), st.lists(LABELS, min_size=1))
def test_the_distance_is_a_metric_between_0_and_1(a: list[str], b: list[str], c: list[str]) -> None:
    every = sorted({*a, *b, *c})
    x, y, z = (tally(labels).shares(every) for labels in (a, b, c))
    assert distance(x, x) == 0
    assert math.isclose(distance(x, y), distance(y, x))
    assert 0 <= distance(x, y) <= 1 + 1e-9
    assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-9
    if not set(a) & set(b):
        assert math.isclose(distance(x, y), 1.0)


@given(st.integers(0, 300))
def test_the_number_of_labels_is_bounded(more: int) -> None:
    made = tally([f"label {i}" for i in range(MAX_TRACKED + more)])
    assert len(made.counts) <= MAX_TRACKED + 1
    assert made.total == MAX_TRACKED + more
    assert made.counts[OTHER] == more
