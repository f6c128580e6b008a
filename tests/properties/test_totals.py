"""Sums over gateways never go back, whatever the gateways do, and lose nothing that was seen."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.telemetry.totals import Totals

NAME, LABELS = "headrace_requests_total", (("model", "a"),)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 50), st.sampled_from(["dies", "drops"])))))
def test_sums_never_go_back_and_count_everything_seen(events: list[tuple[int, int | str]]) -> None:
    totals = Totals()
    counts = [0, 0, 0]
    expected = shown = 0.0
    for source, what in events:
        if what == "dies":
            counts[source] = 0
            totals.forget(source)
        elif what == "drops":
            counts[source] = 0
            totals.feed(source, [])
        else:
            counts[source] += int(what)
            expected += int(what)
            totals.feed(source, [(NAME, LABELS, counts[source]), ("headrace_queued_rows", (), 1)])
        now = sum(value for name, _, value in totals.samples() if name == NAME)
        assert now >= shown
        assert now == expected
        shown = now
