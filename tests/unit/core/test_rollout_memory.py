"""What the rollout does with what it knew before a restart, and how it rests and tries again."""

import pytest

from headrace.core.lifecycle import State
from headrace.core.rollout import Action, CannotRollBack, Flip, Rollout, Start, Stop

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]


def up(rollout: Rollout, now_s: float = 0.0) -> list[Action]:
    """Bring the candidate to READY; what that leads to."""
    key = rollout.candidate
    assert key is not None
    actions: list[Action] = []
    for state in UP:
        actions = rollout.progressed(key, state, now_s)
    return actions


def test_a_rollback_after_a_restart_goes_to_the_version_before() -> None:
    rollout = Rollout()
    rollout.restore("v2", "v1", None, {})
    rollout.pointed("v2", 0.0)
    up(rollout)
    (start,) = rollout.roll_back("a test", 1.0)
    assert isinstance(start, Start)
    assert start.identity == "v1"


def test_without_a_version_before_there_is_nothing_to_go_back_to() -> None:
    rollout = Rollout()
    rollout.restore("v2", None, None, {})
    rollout.pointed("v2", 0.0)
    up(rollout)
    with pytest.raises(CannotRollBack):
        rollout.roll_back("a test", 1.0)


def test_what_rests_ends_everything_and_begins_anew() -> None:
    rollout = Rollout()
    rollout.pointed("v1", 0.0)
    up(rollout)
    rollout.pointed("v2", 1.0)
    stops = rollout.rest(2.0)
    assert [(s.key, s.drain) for s in stops if isinstance(s, Stop)] == [("2", False), ("1", True)]
    assert rollout.serving is None
    assert rollout.rest(2.5) == []
    assert rollout.tick(1000.0) == []
    assert rollout.pointed("v3", 1001.0) == [], "what drains goes first"
    assert rollout.ended("2", 1002.0) == []
    (start,) = rollout.ended("1", 1003.0)
    assert isinstance(start, Start)
    assert isinstance(up(rollout)[0], Flip)


def test_a_failure_that_may_pass_is_tried_again_when_asked_for_and_a_refusal_is_not() -> None:
    rollout = Rollout(retry_first_s=30.0)
    rollout.pointed("v1", 0.0)
    rollout.failed("1", "no space left", 1.0)
    assert rollout.ended("1", 1.0) == []
    assert rollout.tick(2.0) == []
    (start,) = rollout.retry(3.0)
    assert isinstance(start, Start)
    rollout.failed(start.key, "wrong signature", 4.0, for_good=True)
    assert rollout.ended(start.key, 4.0) == []
    assert rollout.retry(5.0) == []
