"""Sums over processes."""

import pytest

from headrace.core.telemetry.totals import Totals, is_counter

NAME, LABELS = "headrace_requests_total", (("model", "a"),)


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


def test_a_counter_that_began_anew_is_added_to_what_it_was() -> None:
    totals = Totals()
    for value in (5, 7, 2, 3):
        totals.feed("gateway", [(NAME, LABELS, value)])
    assert totals.samples() == [(NAME, LABELS, 10.0)]
    totals.feed("gateway", [])
    totals.feed("gateway", [(NAME, LABELS, 3)])
    assert totals.samples() == [(NAME, LABELS, 13.0)]


def test_a_source_that_is_forgotten_begins_at_zero_and_what_it_counted_stays() -> None:
    totals = Totals()
    totals.feed("a", [(NAME, LABELS, 5)])
    totals.feed("b", [(NAME, LABELS, 1)])
    totals.forget("a")
    totals.forget("nobody")
    assert totals.sources == {"b"}
    totals.feed("a", [(NAME, LABELS, 6)])
    assert totals.samples() == [(NAME, LABELS, 12.0)]


def test_the_same_name_and_labels_twice_are_added() -> None:
    totals = Totals()
    totals.feed(
        "a", [(NAME, LABELS, 5), (NAME, LABELS, 2), ("headrace_queued_rows", (), 1), ("headrace_queued_rows", (), 2)]
    )
    assert sorted(totals.samples()) == [("headrace_queued_rows", (), 3.0), (NAME, LABELS, 7.0)]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("x_total", True), ("x_seconds_bucket", True), ("x_seconds_sum", True), ("x_count", True), ("x_rows", False)],
)
def test_a_counter_is_known_by_its_name(name: str, *, is_one: bool) -> None:
    assert is_counter(name) is is_one
