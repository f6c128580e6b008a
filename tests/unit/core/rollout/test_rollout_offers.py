"""What a rollback may go back to, and what no version changes under."""

import pytest

from headrace.core.rollout.actions import Flip
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.rollout import CannotPause, CannotRollBack, Rollout

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]


def up(rollout: Rollout[str]) -> None:
    """Bring the candidate up."""
    key = rollout.candidate
    assert key is not None
    for state in UP:
        rollout.progressed(key, state, 0.0)


def serve(rollout: Rollout[str], *versions: str) -> None:
    """Have each serve after the other; nothing is warm any more."""
    for version in versions:
        rollout.pointed(version, 0.0)
        end(rollout)
        up(rollout)
        rollout.tick(1000.0)
        end(rollout)


def end(rollout: Rollout[str]) -> None:
    """What is on its way out has ended."""
    for key in [key for key in rollout.slots if key not in {rollout.serving, rollout.candidate}]:
        rollout.ended(key, 0.0)


def serving(rollout: Rollout[str]) -> str | None:
    return rollout.identity(rollout.serving)


def test_what_is_on_its_way_is_not_offered() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2", "v3", "v1")
    assert rollout.offered == ["v3", "v2"]
    rollout.pointed("v2", 1.0)
    assert rollout.identity(rollout.candidate) == "v2"
    assert rollout.offered == ["v3"]


def test_what_a_rollback_brings_up_again_is_not_offered_meanwhile() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2", "v3")
    rollout.roll_back("wrong labels", 1.0)
    assert rollout.identity(rollout.candidate) == "v2"
    assert rollout.offered == ["v1"]


def test_what_golden_requests_refused_is_never_offered_again() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2", "v3")
    rollout.pointed("v2", 1.0)
    rollout.failed(rollout.candidate or "", "golden request 1", 2.0, for_good=True, wrong=True)
    serve(rollout, "v4")
    assert rollout.offered == ["v3", "v1"]
    with pytest.raises(CannotRollBack, match="there are: v3, v1"):
        rollout.roll_back("by hand", 3.0, "v2")


def test_what_was_refused_beside_another_is_offered_once_that_is_gone() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2", "v3")
    rollout.pointed("v2", 1.0)
    rollout.failed(rollout.candidate or "", "its signature is incompatible with v3's", 2.0, for_good=True)
    assert "v2" not in rollout.offered
    serve(rollout, "v4")
    assert rollout.offered == ["v3", "v2", "v1"]


def test_what_did_badly_when_another_took_over_is_not_offered_and_still_better_than_what_does_worse() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1")
    rollout.fares_well = False
    serve(rollout, "v2")
    assert rollout.offered == []
    with pytest.raises(CannotRollBack):
        rollout.roll_back("by hand", 1.0)
    rollout.send_back("it is worse", 1.0)
    assert serving(rollout) == "v1" or rollout.wanted == "v1"


def test_one_that_is_well_again_is_offered() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1")
    rollout.fares_well = False
    rollout.fares_well = True
    serve(rollout, "v2")
    assert rollout.offered == ["v1"]


def test_a_rollback_to_one_passes_over_those_between() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2", "v3", "v4")
    rollout.roll_back("by hand", 1.0, "v2")
    assert rollout.wanted == "v2"
    assert rollout.offered == ["v1"], "a second rollback goes further back"


def test_nothing_changes_while_it_is_paused_not_even_over_a_restart() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2")
    assert rollout.pause(1.0) == []
    rollout.pointed("v3", 2.0)
    assert (serving(rollout), rollout.candidate, rollout.offered) == ("v2", None, [])
    with pytest.raises(CannotRollBack, match="paused"):
        rollout.roll_back("by hand", 2.0)
    with pytest.raises(CannotRollBack, match="paused"):
        rollout.send_back("it does badly", 2.0)
    again = Rollout[str]()
    again.restore(rollout.served, rollout.pointed_at, rollout.held, {}, {}, paused=True, pinned=rollout.pinned)
    assert again.likely("v3") == "v2"
    again.pointed("v3", 3.0)
    up(again)
    assert serving(again) == "v2"
    again.resume(4.0)
    assert again.identity(again.candidate) == "v3"


def test_a_pause_that_ends_before_the_registry_was_asked_leaves_a_guess_behind() -> None:
    rollout = Rollout[str]()
    rollout.restore(["v1"], "v1", None, {}, {}, paused=True, pinned="v1")
    rollout.tick(0.0)
    rollout.resume(1.0)
    up(rollout)
    assert rollout.serving is None
    (flip,) = rollout.pointed("v1", 2.0)
    assert isinstance(flip, Flip)


def test_what_comes_up_when_it_is_paused_is_abandoned() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1")
    rollout.pointed("v2", 1.0)
    (stop,) = rollout.pause(2.0)
    assert stop.key not in {rollout.serving, rollout.candidate}
    assert serving(rollout) == "v1"


def test_what_was_sent_back_is_not_kept_by_a_pause() -> None:
    rollout = Rollout[str]()
    serve(rollout, "v1", "v2")
    rollout.roll_back("by hand", 1.0)
    with pytest.raises(CannotPause, match="v2 was sent back"):
        rollout.pause(1.0)
