"""How many calls may be under way, by what they take of the processors."""

from __future__ import annotations

import pytest

from headrace.core.serving.concurrency import MOST_CALLS, ConcurrencyFinder


def run(
    finder: ConcurrencyFinder, *, wall_s: float, cpu_s: float, others_wait: bool = True, rounds: int = 100
) -> list[int]:
    """One worker with as many calls under way as may be, again and again; every limit that there was, in order."""
    limits = [finder.limit]
    for _ in range(rounds):
        # So many calls share one processor, and each takes its own time at least.
        beside = finder.limit
        for _ in range(beside):
            finder.answered(1, max(wall_s, cpu_s * beside), cpu_s, 0.0, others_wait=others_wait)
        if finder.limit != limits[-1]:
            limits.append(finder.limit)
    return limits


def test_a_model_that_waits_gets_as_many_calls_as_keep_a_processor_busy() -> None:
    assert 30 <= run(ConcurrencyFinder(), wall_s=0.1, cpu_s=0.002)[-1] <= 50


def test_a_model_that_does_nothing_else_gets_a_bounded_number() -> None:
    assert run(ConcurrencyFinder(), wall_s=0.1, cpu_s=0.0)[-1] == MOST_CALLS


@pytest.mark.parametrize("wall_s", [0.001, 0.1, 2.0])
def test_a_model_that_computes_stays_alone(wall_s: float) -> None:
    assert run(ConcurrencyFinder(), wall_s=wall_s, cpu_s=0.6 * wall_s) == [1]


def test_nothing_changes_while_nobody_waits() -> None:
    assert run(ConcurrencyFinder(), wall_s=0.1, cpu_s=0.0, others_wait=False) == [1]


def test_a_call_that_waits_lets_others_in_before_it_is_done() -> None:
    finder = ConcurrencyFinder()
    limits = [0, finder.limit]
    for _ in range(4):
        for _ in range(limits[-1] - limits[-2]):  # those that were let in since: each is told of once
            finder.goes_on(0.05, 0.001, 0.0)
        limits.append(finder.limit)
    assert limits == sorted(limits)
    assert limits[2] > 1
    assert limits[-1] > 32


def test_a_call_that_mostly_computes_lets_nobody_in() -> None:
    finder = ConcurrencyFinder()
    finder.goes_on(0.05, 0.02, 0.01)
    assert finder.limit == 1


def test_calls_are_made_apart_until_they_are_known_to_be_short() -> None:
    finder = ConcurrencyFinder()
    states = [finder.apart]
    for seconds in (0.001, 1.0):
        run(finder, wall_s=seconds, cpu_s=seconds)
        states.append(finder.apart)
    assert states == [True, False, True]
    assert finder.limit == 1, "the loop of their worker is free, and no other call is made"


def test_on_a_busy_machine_who_computes_stays_alone_and_who_waits_does_not() -> None:
    computes, waits = ConcurrencyFinder(), ConcurrencyFinder()
    for _ in range(50):
        computes.answered(1, 0.3, 0.03, 0.25, others_wait=True)
        for _ in range(waits.limit):
            waits.answered(1, 0.3, 0.001, 0.03, others_wait=True)
    assert computes.limit == 1
    assert waits.limit > 64


def test_merging_goes_before_company() -> None:
    finder = ConcurrencyFinder()
    merges = [finder.merges]
    finder.answered(1, 0.3, 0.3, 0.0, others_wait=True)
    merges.append(finder.merges)
    for wall_s in (0.3, 32 * 0.3):
        for _ in range(40):
            finder.answered(32, wall_s, 0.001, 0.0, others_wait=True)
        merges.append(finder.merges)
    # The first call of all is for one request; 32 took as long as one, and then as long as 32.
    assert merges == [False, True, True, False]
    assert finder.limit > 1


def test_calls_that_come_to_compute_are_alone_again() -> None:
    finder = ConcurrencyFinder()
    run(finder, wall_s=0.1, cpu_s=0.0)
    later = ConcurrencyFinder()
    later.limit = finder.limit
    assert run(later, wall_s=0.1, cpu_s=0.1)[-1] == 1
