"""Whether a model fails because of company, told from one that fails anyhow."""

from __future__ import annotations

import random

import pytest

from headrace.core.serving.suspicion import Suspicion


def run(suspicion: Suspicion, *, beside: float, alone: float, calls: int = 500, every: int = 5) -> int:
    """Calls that fail with such a chance, each fifth of them alone; how many were tried once more."""
    chance = random.Random(7)
    tried = 0
    for number in range(calls):
        has_company = number % every != 0
        if suspicion.count(beside=has_company, failed=chance.random() < (beside if has_company else alone)):
            tried += 1
            suspicion.tried(failed=chance.random() < alone)
            if suspicion.is_proven:
                return tried
    return tried


@pytest.mark.parametrize("beside", [1.0, 0.5, 0.1])
def test_a_model_that_fails_in_company_only_is_found(beside: float) -> None:
    suspicion = Suspicion()
    run(suspicion, beside=beside, alone=0.0)
    assert suspicion.is_proven


def test_three_are_enough_where_all_fail() -> None:
    suspicion = Suspicion()
    assert run(suspicion, beside=1.0, alone=0.0, every=10**6) == 3
    assert suspicion.is_proven


@pytest.mark.parametrize("chance", [1.0, 0.5, 0.1, 0.02])
def test_a_model_that_fails_as_often_alone_is_let_be_and_hardly_ever_tried(chance: float) -> None:
    suspicion = Suspicion()
    tried = run(suspicion, beside=chance, alone=chance, calls=20_000)
    assert not suspicion.is_proven
    assert tried <= 50


def test_nothing_is_tried_of_a_model_that_does_not_fail() -> None:
    assert run(Suspicion(), beside=0.0, alone=0.0) == 0
