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


def test_gauges_are_what_is_there_now() -> None:
    totals = Totals()
    totals.feed(0, [("headrace_queued_rows", (), 3)])
    totals.feed(1, [("headrace_queued_rows", (), 4)])
    assert totals.samples() == [("headrace_queued_rows", (), 7.0)]
    totals.forget(0)
    assert totals.samples() == [("headrace_queued_rows", (), 4.0)]


def test_the_series_of_versions_that_ended_long_ago_are_let_go() -> None:
    totals = Totals(keep_ended=2)
    for number in range(6):
        labels = (("model", "a"), ("version", f"a/{number}"))
        totals.feed(0, [(NAME, LABELS, number), (NAME, labels, 1)])
    kept = {dict(labels).get("version"): value for _, labels, value in totals.samples()}
    assert kept == {None: 5, "a/3": 1, "a/4": 1, "a/5": 1}
    totals.forget(0)
    totals.feed(0, [(NAME, (("model", "a"), ("version", "a/5")), 1)])
    kept = {dict(labels).get("version"): value for _, labels, value in totals.samples()}
    assert kept == {None: 5, "a/3": 1, "a/4": 1, "a/5": 2}
