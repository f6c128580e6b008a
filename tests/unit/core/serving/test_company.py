"""How many calls may be under way, by what they take of the processors."""

from __future__ import annotations

import pytest

from headrace.core.serving.company import MOST_CALLS, Company


def run(company: Company, *, wall_s: float, cpu_s: float, others_wait: bool = True, rounds: int = 100) -> list[int]:
    """One worker with as many calls under way as may be, again and again; every limit that there was, in order."""
    limits = [company.limit]
    for _ in range(rounds):
        # So many calls share one processor, and each takes its own time at least.
        beside = company.limit
        for _ in range(beside):
            company.answered(1, max(wall_s, cpu_s * beside), cpu_s, 0.0, others_wait=others_wait)
        if company.limit != limits[-1]:
            limits.append(company.limit)
    return limits


def test_a_model_that_waits_gets_as_many_calls_as_keep_a_processor_busy() -> None:
    assert 30 <= run(Company(), wall_s=0.1, cpu_s=0.002)[-1] <= 50


def test_a_model_that_does_nothing_else_gets_a_bounded_number() -> None:
    assert run(Company(), wall_s=0.1, cpu_s=0.0)[-1] == MOST_CALLS


@pytest.mark.parametrize("wall_s", [0.001, 0.1, 2.0])
def test_a_model_that_computes_stays_alone(wall_s: float) -> None:
    assert run(Company(), wall_s=wall_s, cpu_s=0.6 * wall_s) == [1]


def test_nothing_changes_while_nobody_waits() -> None:
    assert run(Company(), wall_s=0.1, cpu_s=0.0, others_wait=False) == [1]


def test_a_call_that_waits_lets_others_in_before_it_is_done() -> None:
    company = Company()
    limits = [0, company.limit]
    for _ in range(4):
        for _ in range(limits[-1] - limits[-2]):  # those that were let in since: each is told of once
            company.waits(0.05, 0.001, 0.0)
        limits.append(company.limit)
    assert limits == sorted(limits)
    assert limits[2] > 1
    assert limits[-1] > 32


def test_a_call_that_mostly_computes_lets_nobody_in() -> None:
    company = Company()
    company.waits(0.05, 0.02, 0.01)
    assert company.limit == 1


def test_calls_are_made_apart_until_they_are_known_to_be_short() -> None:
    company = Company()
    states = [company.apart]
    for seconds in (0.001, 1.0):
        run(company, wall_s=seconds, cpu_s=seconds)
        states.append(company.apart)
    assert states == [True, False, True]
    assert company.limit == 1, "the loop of their worker is free, and no other call is made"


def test_on_a_busy_machine_who_computes_stays_alone_and_who_waits_does_not() -> None:
    computes, waits = Company(), Company()
    for _ in range(50):
        computes.answered(1, 0.3, 0.03, 0.25, others_wait=True)
        for _ in range(waits.limit):
            waits.answered(1, 0.3, 0.001, 0.03, others_wait=True)
    assert computes.limit == 1
    assert waits.limit > 64


def test_merging_goes_before_company() -> None:
    company = Company()
    merges = [company.merges]
    company.answered(1, 0.3, 0.3, 0.0, others_wait=True)
    merges.append(company.merges)
    for wall_s in (0.3, 32 * 0.3):
        for _ in range(40):
            company.answered(32, wall_s, 0.001, 0.0, others_wait=True)
        merges.append(company.merges)
    # The first call of all is for one request; 32 took as long as one, and then as long as 32.
    assert merges == [False, True, True, False]
    assert company.limit > 1


def test_calls_that_come_to_compute_are_alone_again() -> None:
    company = Company()
    run(company, wall_s=0.1, cpu_s=0.0)
    later = Company()
    later.limit = company.limit
    assert run(later, wall_s=0.1, cpu_s=0.1)[-1] == 1
