from hypothesis import given
from hypothesis import strategies as st

from headrace.core.processes.watchdog import Watchdog


def test_one_that_answers_is_left_alone() -> None:
    dog = Watchdog(12.0, 100.0)
    for tick in range(1, 50):
        now_s = 100.0 + 3.0 * tick
        assert dog.tick(now_s) is None
        dog.heard(now_s + 0.1)


def test_one_that_is_silent_is_told_after_the_limit_and_not_before() -> None:
    dog = Watchdog(12.0, 100.0)
    assert [dog.tick(100.0 + 3.0 * tick) for tick in (1, 2, 3, 4)] == [None, None, None, 12.0]


def test_a_watcher_that_was_away_blames_nobody() -> None:
    dog = Watchdog(12.0, 100.0)
    assert dog.tick(103.0) is None
    assert dog.tick(1000.0) is None, "it was we who did not listen"
    assert [dog.tick(1000.0 + 3.0 * tick) for tick in (1, 2, 3, 4)] == [None, None, None, 12.0]


@given(st.lists(st.floats(min_value=0.0, max_value=6.0), max_size=60), st.floats(min_value=0.5, max_value=60.0))
def test_whoever_answers_between_two_ticks_is_never_told(pauses_s: list[float], limit_s: float) -> None:
    now_s = 0.0
    dog = Watchdog(limit_s, now_s)
    for pause_s in pauses_s:
        now_s += pause_s
        dog.heard(now_s)
        assert dog.tick(now_s) is None
