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
            company.answered(max(wall_s, cpu_s * beside), cpu_s, others_wait=others_wait)
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


def test_calls_that_come_to_compute_are_alone_again() -> None:
    company = Company()
    run(company, wall_s=0.1, cpu_s=0.0)
    later = Company()
    later.limit = company.limit
    assert run(later, wall_s=0.1, cpu_s=0.1)[-1] == 1
