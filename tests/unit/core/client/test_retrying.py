"""When a client may ask again, how long it waits, and how much it may repeat: pure, so every case is a line."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.client.balancing import BreakerPolicy
from headrace.core.client.hedging import HedgePolicy
from headrace.core.client.retrying import (
    Budget,
    BudgetPolicy,
    RetryPolicy,
    Trouble,
    back_off_s,
    may_retry,
    parse_retry_after,
    wait_s,
)

ONCE = RetryPolicy(idempotent=False)
CHANCES = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("trouble", "again", "again_if_once"),
    [
        (Trouble("unsent"), True, True),
        (Trouble("lost"), True, False),
        (Trouble("status", 408), True, True),
        (Trouble("status", 429), True, True),
        (Trouble("status", 502), True, False),
        (Trouble("status", 503), True, False),
        (Trouble("status", 503, "OVERLOADED"), True, True),
        (Trouble("status", 504), True, False),
        *((Trouble("status", status), False, False) for status in (200, 302, 400, 401, 404, 413, 422, 500, 501)),
    ],
)
def test_what_may_be_sent_again(trouble: Trouble, again: bool, again_if_once: bool) -> None:  # noqa: FBT001
    assert may_retry(RetryPolicy(), trouble) is again
    assert may_retry(ONCE, trouble) is again_if_once


@given(st.integers(1, 1000), CHANCES)
def test_the_back_off_grows_and_stays_within_its_bounds(failures: int, chance: float) -> None:
    policy = RetryPolicy(first_s=0.1, most_s=5)
    wait = back_off_s(policy, failures, chance)
    assert 0.05 <= wait <= 5
    assert back_off_s(policy, failures, 0) <= wait <= 2 * back_off_s(policy, failures, 0)


@given(st.integers(1, 50), st.floats(-1, 100), CHANCES, st.none() | st.floats(0, 100))
def test_a_wait_never_ends_after_the_deadline(
    failures: int, left_s: float, chance: float, retry_after_s: float | None
) -> None:
    wait = wait_s(RetryPolicy(), Trouble("status", 503, "", retry_after_s), failures, left_s, chance)
    if wait is not None:
        assert wait < left_s
        assert wait >= (retry_after_s or 0)
    elif retry_after_s is None:
        assert left_s <= 0.02


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("1.5", None), ("-1", None), ("soon", None), ("", None), (None, None)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, 0) == seconds


def test_retry_after_as_a_date() -> None:
    assert parse_retry_after(formatdate(1_000_010, usegmt=True), 1_000_000) == 10
    assert parse_retry_after(formatdate(999_990, usegmt=True), 1_000_000) == 0
    assert parse_retry_after("Mon Jan 12 13:46:50 1970", 1_000_000) == 10, "as asctime writes it: GMT, wherever we are"


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200))
def test_a_budget_lets_through_its_share_and_no_more(steps: list[tuple[float, bool]]) -> None:
    policy = BudgetPolicy(ratio=0.5, per_s=2, burst=3)
    budget = Budget(policy, 0)
    now_s, asked, sent = 0.0, 0, [0.0]
    for pause_s, is_first in steps:
        now_s += pause_s
        if is_first:
            budget.asked(now_s)
            asked += 1
        else:
            wait = budget.take(now_s, at_most_s=1.0)
            if wait is not None:
                assert 0 <= wait <= 1.0
                sent.append(now_s + wait)
    last_s = max(sent)
    assert len(sent) - 1 <= policy.burst + policy.per_s * last_s + policy.ratio * asked + 1e-6


def test_a_budget_that_is_used_up_makes_retries_wait_their_turn() -> None:
    budget = Budget(BudgetPolicy(ratio=0, per_s=10, burst=1), 0)
    assert [budget.take(0, 1.0) for _ in range(3)] == pytest.approx([0, 0.1, 0.2])
    assert budget.take(0, 0.05) is None
    assert budget.take(10, 0) == 0, "time fills it"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RetryPolicy(max_tries=0),
        lambda: RetryPolicy(first_s=2, most_s=1),
        lambda: BudgetPolicy(per_s=0),
        lambda: HedgePolicy(quantile=1),
        lambda: BreakerPolicy(failures=0),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        wrong()  # type: ignore[operator]
