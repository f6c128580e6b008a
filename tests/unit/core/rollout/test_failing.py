"""When a version counts as failing."""

import pytest

from headrace.core.rollout.failing import LEAST_FAILURES, FailureWatch


@pytest.mark.parametrize(
    ("good", "failed", "failing"),
    [(0, 2, False), (0, 3, True), (3, 3, True), (4, 3, False), (1, 2, False), (1000, 999, False), (1000, 2000, True)],
)
def test_it_takes_some_failures_and_half_of_the_answers(good: int, failed: int, failing: bool) -> None:  # noqa: FBT001
    watch = FailureWatch()
    assert watch.feed(good, failed, 7.0) is failing
    assert watch.since_s == (7.0 if failing else None)


def test_it_ends_after_about_twenty_good_answers_and_not_before() -> None:
    watch = FailureWatch()
    watch.feed(0, 10_000, 1.0)
    needed = 0
    while watch.since_s is not None:
        watch.feed(1, 0, 2.0)
        needed += 1
    assert 20 <= needed <= 40


def test_many_answers_at_a_time_are_as_good_as_one_by_one() -> None:
    watch = FailureWatch()
    watch.feed(0, 10_000, 1.0)
    assert watch.feed(10_000, 0, 2.0)
    assert watch.since_s is None


def test_it_says_since_when_it_began() -> None:
    watch = FailureWatch()
    watch.feed(0, 5, 1.0)
    assert not watch.feed(0, 5, 2.0)
    assert watch.since_s == 1.0


def test_an_example_that_fails_is_enough_until_requests_succeed() -> None:
    watch = FailureWatch()
    watch.example_failed(3.0)
    assert (watch.since_s, watch.share) == (3.0, 1.0)
    assert watch.feed(4 * LEAST_FAILURES, 0, 4.0)
    assert watch.since_s is None


def test_nothing_changes_where_nothing_was_answered() -> None:
    watch = FailureWatch()
    assert not watch.feed(0, 0, 1.0)
    assert not watch.feed(-1, -5, 1.0), "counters that began anew"
