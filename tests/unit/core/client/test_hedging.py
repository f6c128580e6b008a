"""When a second try is sent beside the first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.client.hedging import HedgePolicy, Latencies


def test_a_hedge_waits_for_nearly_all() -> None:
    latencies = Latencies(HedgePolicy(quantile=0.95, least_s=0.001, window=100, warm=20))
    for number in range(19):
        latencies.add(number)
        assert latencies.hedge_after_s() is None
    for number in range(19, 100):
        latencies.add(number)
    assert latencies.hedge_after_s() == 95
    for _ in range(100):
        latencies.add(0.0)
    assert latencies.hedge_after_s() == 0.001, "the old ones are forgotten"


@given(st.lists(st.floats(0, 10), min_size=20, max_size=300))
def test_a_hedge_is_one_of_the_measured_durations(durations: list[float]) -> None:
    latencies = Latencies(HedgePolicy(least_s=0, window=50, warm=20))
    for one in durations:
        latencies.add(one)
    after_s = latencies.hedge_after_s()
    assert after_s in durations[-50:]
    assert sum(d <= after_s for d in durations[-50:]) >= 0.95 * len(durations[-50:])
