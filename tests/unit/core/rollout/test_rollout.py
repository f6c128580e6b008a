"""What the rollout does with what it knew before a restart, and how it rests and tries again."""

import pytest

from headrace.core.rollout.actions import Action, Flip, Start, Stop
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.marks import Marks
from headrace.core.rollout.rollout import CannotRollBack, Rollout

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]


def up(rollout: Rollout[str], now_s: float = 0.0) -> list[Action[str]]:
    """Bring the candidate to READY; what that leads to."""
    key = rollout.candidate
    assert key is not None
    actions: list[Action[str]] = []
    for state in UP:
        actions = rollout.progressed(key, state, now_s)
    return actions


def test_a_rollback_after_a_restart_goes_to_the_version_before() -> None:
    rollout = Rollout[str]()
    rollout.restore(["v1", "v2"], "v2", None, {}, {})
    rollout.pointed("v2", 0.0)
    up(rollout)
    (start,) = rollout.roll_back("a test", 1.0)
    assert isinstance(start, Start)
    assert start.identity == "v1"


def test_without_a_version_before_there_is_nothing_to_go_back_to() -> None:
    rollout = Rollout[str]()
    rollout.restore(["v2"], "v2", None, {}, {})
    rollout.pointed("v2", 0.0)
    up(rollout)
    with pytest.raises(CannotRollBack):
        rollout.roll_back("a test", 1.0)


def test_what_rests_ends_everything_and_begins_anew() -> None:
    rollout = Rollout[str]()
    rollout.pointed("v1", 0.0)
    up(rollout)
    rollout.pointed("v2", 1.0)
    stops = rollout.rest(2.0, "it serves elsewhere")
    assert [(s.key, s.drain) for s in stops if isinstance(s, Stop)] == [("2", False), ("1", True)]
    assert rollout.serving is None
    assert rollout.rest(2.5, "it serves elsewhere") == []
    assert rollout.tick(1000.0) == []
    assert rollout.pointed("v3", 1001.0) == [], "what drains goes first"
    assert rollout.ended("2", 1002.0) == []
    (start,) = rollout.ended("1", 1003.0)
    assert isinstance(start, Start)
    assert isinstance(up(rollout)[0], Flip)


def test_a_failure_that_may_pass_is_tried_again_when_asked_for_and_a_refusal_is_not() -> None:
    rollout = Rollout[str](marks=Marks(30.0))
    rollout.pointed("v1", 0.0)
    rollout.failed("1", "no space left", 1.0)
    assert rollout.ended("1", 1.0) == []
    assert rollout.tick(2.0) == []
    (start,) = rollout.retry(3.0)
    assert isinstance(start, Start)
    rollout.failed(start.key, "wrong signature", 4.0, for_good=True)
    assert rollout.ended(start.key, 4.0) == []
    assert rollout.retry(5.0) == []


def end(rollout: Rollout[str], now_s: float) -> list[Action[str]]:
    """End what is neither serving nor warm nor on its way up."""
    kept = {rollout.serving, rollout.candidate, rollout.warm}
    actions: list[Action[str]] = []
    for key in [key for key in rollout.slots if key not in kept]:
        actions += rollout.ended(key, now_s)
    return actions


def identity(rollout: Rollout[str]) -> object:
    return rollout.slots[rollout.serving].identity if rollout.serving is not None else None


def serve(rollout: Rollout[str], version: str, now_s: float) -> None:
    """Have the registry point at a version and bring it up."""
    rollout.pointed(version, now_s)
    end(rollout, now_s)
    up(rollout, now_s)
    assert identity(rollout) == version


def test_a_second_rollback_goes_further_back_and_never_to_what_was_sent_back() -> None:
    rollout = Rollout[str]()
    for now_s, version in enumerate(("v1", "v2", "v3")):
        serve(rollout, version, float(now_s))
    rollout.send_back("errors", 4.0)
    assert identity(rollout) == "v2"
    rollout.roll_back("by hand, in the same moment", 5.0)
    end(rollout, 5.0)
    up(rollout, 6.0)
    assert identity(rollout) == "v1"
    assert rollout.offered == []
    with pytest.raises(CannotRollBack):
        rollout.roll_back("once more", 7.0)
    assert rollout.marks.sent_back == {"v3": "errors", "v2": "by hand, in the same moment"}


def test_a_rollback_is_taken_back_by_following_the_registry_anew() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", 1.0)
    serve(rollout, "v2", 2.0)
    rollout.roll_back("a mistake", 3.0)
    assert rollout.retry(4.0) == []
    (flip,) = rollout.retry(5.0, anew=True)
    assert isinstance(flip, Flip)
    assert identity(rollout) == "v2"
    assert rollout.marks.bad == {}


def test_what_does_badly_gives_way_to_what_the_registry_points_at_by_then() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", 1.0)
    serve(rollout, "v2", 2.0)
    rollout.pointed("v3", 3.0)
    end(rollout, 3.0)
    assert rollout.send_back("errors", 4.0) == []
    assert rollout.held is None
    up(rollout, 5.0)
    assert identity(rollout) == "v3"
    assert rollout.offered == ["v1"]


def test_what_does_badly_gives_way_to_what_served_before_when_its_successor_fails() -> None:
    rollout = Rollout[str](marks=Marks(30.0))
    serve(rollout, "v1", 1.0)
    serve(rollout, "v2", 2.0)
    rollout.pointed("v3", 3.0)
    end(rollout, 3.0)
    rollout.send_back("errors", 4.0)
    key = rollout.candidate
    assert key is not None
    rollout.failed(key, "no space left", 5.0)
    (start,) = end(rollout, 5.0)
    assert isinstance(start, Start)
    assert start.identity == "v1"
    assert rollout.goes_back(start.key)
    (flip,) = up(rollout, 6.0)
    assert isinstance(flip, Flip)
    assert identity(rollout) == "v1"
    # What the registry points at is still wanted.
    rollout.tick(36.0)
    (start,) = end(rollout, 36.0)
    assert isinstance(start, Start)
    assert start.identity == "v3"


def test_what_a_check_has_refused_is_checked_again_after_a_restart_beside_what_serves() -> None:
    rollout = Rollout[str]()
    rollout.restore(["v1"], "v2", None, {}, {"v2": "wrong signature"})
    assert rollout.likely("v2") == "v1"
    rollout.guess("v1", 0.0)
    assert rollout.pointed("v2", 1.0) == []
    assert rollout.marks.refused == {"v2": "wrong signature"}, "known until it has been checked"
    flip, start = up(rollout, 2.0)
    assert isinstance(flip, Flip)
    assert isinstance(start, Start)
    assert (identity(rollout), start.identity) == ("v1", "v2")
    assert not rollout.goes_back(start.key)


def test_what_a_check_has_refused_is_checked_again_after_a_restart_where_nothing_else_can_serve() -> None:
    rollout = Rollout[str]()
    rollout.restore([], "v1", None, {}, {"v1": "answered wrongly"})
    assert rollout.likely("v1") is None
    (start,) = rollout.pointed("v1", 1.0)
    assert isinstance(start, Start)


def test_a_rollback_holds_over_a_restart_also_when_something_else_was_on_its_way() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", 1.0)
    serve(rollout, "v2", 2.0)
    rollout.pointed("v3", 3.0)
    rollout.roll_back("by hand", 4.0)
    again = Rollout[str]()
    again.restore(rollout.served, rollout.pointed_at, rollout.held, rollout.marks.sent_back, rollout.marks.refused)
    again.guess("v1", 5.0)
    assert again.pointed("v3", 6.0) == []
    up(again, 7.0)
    assert identity(again) == "v1"
    assert again.held == "v1"
    (start,) = again.pointed("v4", 8.0)
    assert isinstance(start, Start)
    assert start.identity == "v4"


def test_what_drains_does_not_fail_any_more() -> None:
    """It is on its way out after its last answer: neither is that cut short, nor is it a problem to tell."""
    rollout = Rollout[str](keep_old_s=0.0)
    for number, version in enumerate(("v1", "v2")):
        rollout.pointed(version, float(number))
        up(rollout)
    (stop,) = rollout.tick(5.0)
    assert isinstance(stop, Stop)
    assert (stop.key, stop.drain) == ("1", True)
    assert rollout.failed("1", "its processes ended", 6.0) == []
    assert rollout.slots["1"].life.state is State.DRAINING


def test_what_is_compared_with_what_served_last() -> None:
    """Only what takes its place; and not where that has failed, or nothing would serve in the end."""
    rollout = Rollout[str]()
    rollout.restore(["v1", "v2"], "v2", None, {}, {})
    (start,) = rollout.pointed("v3", 0.0)
    assert isinstance(start, Start)
    assert rollout.replaces_last(start.key)
    rollout.failed(start.key, "another signature", 1.0)
    (start,) = rollout.ended(start.key, 2.0)
    assert isinstance(start, Start)
    assert start.identity == "v2"
    assert not rollout.replaces_last(start.key), "it is what served last"
    rollout.failed(start.key, "it cannot load", 3.0)
    (start,) = rollout.ended(start.key, 4.0)
    assert isinstance(start, Start)
    assert start.identity == "v1"
    rollout.failed(start.key, "it cannot load", 5.0)
    rollout.ended(start.key, 6.0)
    (start,) = rollout.tick(40.0)
    assert isinstance(start, Start)
    assert start.identity == "v3"
    assert not rollout.replaces_last(start.key), "what served last is not there any more"


def test_a_version_that_went_back_while_headrace_was_down_is_compared() -> None:
    rollout = Rollout[str]()
    rollout.restore(["v1", "v2"], "v2", None, {}, {})
    (start,) = rollout.pointed("v1", 0.0)
    assert isinstance(start, Start)
    assert rollout.replaces_last(start.key)
