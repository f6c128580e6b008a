"""Which versions are left alone, why, and until when."""

from __future__ import annotations

import pytest

from headrace.core.rollout.marks import Marks


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 30.0), (2, 60.0), (3, 120.0), (5, 480.0), (6, 600.0), (50, 600.0)]
)
def test_each_failure_doubles_the_wait_up_to_a_bound(failures: int, wait_s: float) -> None:
    marks: Marks[str] = Marks(30.0, 600.0)
    for _ in range(failures):
        marks.failed("v1", "no room", 1000.0, refused=False)
    assert marks.due_in_s("v1", 1000.0) == wait_s
    assert not marks.is_due("v1", 1000.0 + wait_s - 0.1)
    assert marks.is_due("v1", 1000.0 + wait_s)
    assert marks.due_in_s("v1", 5000.0) == 0.0
    assert (marks.bad, marks.refused, marks.sent_back) == ({}, {}, {})


def test_what_a_check_refused_waits_for_the_registry_and_for_nothing_else() -> None:
    marks: Marks[str] = Marks()
    marks.failed("v1", "accuracy", 0.0, refused=True)
    marks.retry(1e9)
    assert not marks.is_due("v1", 1e9)
    assert marks.due_in_s("v1", 0.0) is None
    assert (marks.bad, marks.refused, marks.sent_back) == ({"v1": "accuracy"}, {"v1": "accuracy"}, {})
    assert not marks.was_sent_back("v1")


def test_what_was_sent_back_is_told_apart_from_what_was_refused() -> None:
    marks: Marks[str] = Marks()
    marks.send_back("v1", "errors")
    assert marks.was_sent_back("v1")
    assert (marks.bad, marks.refused, marks.sent_back) == ({"v1": "errors"}, {}, {"v1": "errors"})
    assert not marks.is_due("v1", 1e9)
    assert "v1" in marks
    marks.remove("v1")
    marks.remove("v1")
    assert "v1" not in marks
    assert not marks.was_sent_back("v1")


def test_what_waits_for_a_time_can_be_made_due_and_waits_longer_the_next_time() -> None:
    marks: Marks[str] = Marks(30.0, 600.0)
    marks.failed("v1", "no room", 0.0, refused=False)
    marks.retry(5.0)
    assert marks.is_due("v1", 5.0)
    marks.retry(4000.0)
    assert marks.is_due("v1", 5.0), "never later than it was"
    marks.failed("v1", "no room", 5.0, refused=False)
    assert marks.due_in_s("v1", 5.0) == 60.0


def test_after_a_restart_a_refusal_is_checked_again_and_what_was_sent_back_stays_away() -> None:
    marks: Marks[str] = Marks()
    marks.failed("v0", "old", 0.0, refused=False)
    marks.restore({"v1": "errors", "v3": "both"}, {"v2": "accuracy", "v3": "check"})
    assert "v0" not in marks
    assert marks.is_due("v2", 0.0)
    assert not marks.is_due("v1", 1e9)
    assert not marks.is_due("v3", 1e9), "what has served and did badly is not tried again"
    assert marks.refused == {"v2": "accuracy"}
    assert marks.sent_back == marks.bad == {"v1": "errors", "v3": "both"}
    marks.clear()
    assert "v1" not in marks


def test_nothing_is_due_of_what_is_not_marked() -> None:
    marks: Marks[str] = Marks()
    assert marks.due_in_s("v1", 0.0) is None
    assert "v1" not in marks
