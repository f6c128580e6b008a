"""A version that takes over in steps."""

from headrace.core.rollout.actions import Action, Flip, Share, Stop
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.rollout import Rollout

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING]


def up(rollout: Rollout[str], steps: tuple[int, ...] = (1, 10, 100)) -> list[Action[str]]:
    """Bring the candidate up; what that leads to."""
    key = rollout.candidate
    assert key is not None
    for state in UP:
        rollout.progressed(key, state, 0.0)
    rollout.set_steps(key, steps)
    return rollout.progressed(key, State.READY, 0.0)


def beside(rollout: Rollout[str]) -> str:
    """Have v1 serve and v2 begin with its first step; returns v2's key."""
    rollout.pointed("v1", 0.0)
    up(rollout)
    rollout.pointed("v2", 0.0)
    (share,) = up(rollout)
    assert share == Share(rollout.candidate or "", 1)
    return rollout.candidate or ""


def serving(rollout: Rollout[str]) -> str | None:
    return rollout.identity(rollout.serving)


def test_it_takes_over_step_by_step() -> None:
    rollout = Rollout[str]()
    key = beside(rollout)
    assert rollout.tick(1.0) == []
    assert rollout.stepped(key, 1.0) == [Share(key, 10)]
    assert serving(rollout) == "v1"
    (flip,) = rollout.stepped(key, 2.0)
    assert isinstance(flip, Flip)
    assert serving(rollout) == "v2"
    assert rollout.stepped(key, 3.0) == []


def test_where_nothing_serves_it_takes_over_at_once() -> None:
    rollout = Rollout[str]()
    rollout.pointed("v1", 0.0)
    (flip,) = up(rollout)
    assert isinstance(flip, Flip)


def test_one_that_has_served_before_takes_over_at_once() -> None:
    rollout = Rollout[str](keep_old_s=0.0)
    key = beside(rollout)
    rollout.stepped(key, 1.0)
    rollout.stepped(key, 2.0)
    for stop in rollout.tick(3.0):
        assert isinstance(stop, Stop)
        rollout.ended(stop.key, 3.0)
    rollout.pointed("v1", 4.0)
    (flip,) = up(rollout)
    assert isinstance(flip, Flip)


def test_one_that_does_badly_gives_its_share_back_and_stays_out() -> None:
    rollout = Rollout[str]()
    key = beside(rollout)
    (stop,) = rollout.withdraw_candidate(key, "errors", 1.0)
    assert stop == Stop(key, drain=True, reason="errors")
    assert rollout.slots[key].life.state is State.DRAINING
    assert rollout.ended(key, 2.0) == []
    assert rollout.tick(1000.0) == []
    assert (serving(rollout), rollout.marks.bad) == ("v1", {"v2": "errors"})
    assert rollout.withdraw_candidate(key, "too late", 3.0) == []


def test_where_the_one_beside_it_does_worse_it_takes_over_at_once() -> None:
    rollout = Rollout[str]()
    beside(rollout)
    (flip,) = rollout.send_back("errors", 1.0)
    assert isinstance(flip, Flip)
    assert serving(rollout) == "v2"


def test_another_move_ends_the_step_after_its_requests() -> None:
    rollout = Rollout[str]()
    key = beside(rollout)
    (stop,) = rollout.pointed("v3", 1.0)
    assert (stop.key, isinstance(stop, Stop) and stop.drain) == (key, True)
