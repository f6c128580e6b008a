"""The lifecycle table and the restart policy, under every order of events."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.rollout.lifecycle import IllegalTransition, Life, State


@given(st.lists(st.sampled_from(list(State)), max_size=30))
def test_no_order_of_moves_serves_what_was_never_ready(moves: list[State]) -> None:
    life = Life()
    taken = [life.state]
    for number, state in enumerate(moves):
        try:
            life.to(state, float(number))
        except IllegalTransition:
            continue
        taken.append(state)
    for before, after in pairwise(taken):
        if after is State.SERVING:
            assert before in {State.READY, State.DRAINING}
            assert State.READY in taken
        assert before is not State.STOPPED
        assert not (before is State.FAILED and after is not State.STOPPED)
    assert len(life.past) == len(taken) - 1


@given(
    st.lists(st.floats(0, 100), max_size=40),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.integers(1, 10),
)
def test_restarts_wait_longer_after_each_quick_death_and_never_too_long(
    lives_s: list[float], chance: float, give_up_after: int | None
) -> None:
    policy = RestartPolicy(first_s=0.5, most_s=8, healthy_s=30, give_up_after=give_up_after)
    restarts = Restarts(policy)
    in_a_row = 0
    for lived_s in lives_s:
        in_a_row = 0 if lived_s >= policy.healthy_s else in_a_row + 1
        wait_s = restarts.died(lived_s, chance)
        if wait_s is None:
            assert give_up_after is not None
            assert in_a_row >= give_up_after
            return
        assert 0 <= wait_s <= policy.most_s
        if in_a_row:
            full_s = min(8.0, 0.5 * 2 ** (in_a_row - 1))
            assert full_s / 2 <= wait_s <= full_s
        else:
            assert wait_s == 0
    assert restarts.total == len(lives_s)
