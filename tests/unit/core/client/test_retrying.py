"""When a client may ask again, how long it waits, and how much it may repeat: pure, so every case is a line."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.client.balancing import Address, BreakerPolicy, Fleet
from headrace.core.client.hedging import HedgePolicy, Latencies
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


def test_a_hedge_waits_for_nearly_all() -> None:
    latencies = Latencies(HedgePolicy(quantile=0.95, least_s=0.001, window=100, warm=20))
    for number in range(19):
        latencies.add(number)
        assert latencies.hedge_after_s() is None
    for number in range(19, 100):
        latencies.add(number)
    assert latencies.hedge_after_s() == 95
    for _ in range(100):
        latencies.add(0.0)
    assert latencies.hedge_after_s() == 0.001, "the old ones are forgotten"


@given(st.lists(st.floats(0, 10), min_size=20, max_size=300))
def test_a_hedge_is_one_of_the_measured_durations(durations: list[float]) -> None:
    latencies = Latencies(HedgePolicy(least_s=0, window=50, warm=20))
    for one in durations:
        latencies.add(one)
    after_s = latencies.hedge_after_s()
    assert after_s in durations[-50:]
    assert sum(d <= after_s for d in durations[-50:]) >= 0.95 * len(durations[-50:])


URLS = ("http://a", "http://b", "http://c")


def test_the_least_outstanding_is_asked_and_equals_take_turns() -> None:
    fleet = Fleet(URLS, None)
    picked = [fleet.pick(0) for _ in range(6)]
    assert sorted(a.url for a in picked if a) == sorted(2 * URLS)
    assert picked[0] is not None
    fleet.worked(picked[0])
    assert fleet.pick(0) is picked[0]


def test_an_address_that_failed_rests_and_comes_back() -> None:
    fleet = Fleet(URLS[:2], None)
    first = fleet.pick(0)
    assert first is not None
    fleet.failed(first, 0)
    assert {fleet.pick(0.1) for _ in range(5)} == {a for a in fleet.addresses if a is not first}
    assert fleet.has_other(0.1, frozenset({first.index}))
    assert not fleet.has_other(0.1, frozenset({1 - first.index}))
    assert fleet.pick(11) is first


def test_when_all_rest_the_one_that_is_due_first_is_asked() -> None:
    fleet = Fleet(URLS[:2], None)
    one, two = fleet.pick(0), fleet.pick(0)
    assert one is not None
    assert two is not None
    fleet.failed(one, 0, retry_after_s=30)
    fleet.failed(two, 0, retry_after_s=5)
    assert fleet.pick(1) is two


def test_a_circuit_opens_tries_once_and_closes() -> None:
    fleet = Fleet(URLS[:1], BreakerPolicy(failures=2, open_s=5))
    for _ in range(2):
        address = fleet.pick(0)
        assert address is not None
        fleet.failed(address, 0)
    assert fleet.pick(4.9) is None
    trial = fleet.pick(5)
    assert trial is not None
    assert fleet.pick(5) is None, "one at a time"
    fleet.failed(trial, 5)
    assert fleet.pick(9) is None
    trial = fleet.pick(10)
    assert trial is not None
    fleet.worked(trial)
    assert fleet.pick(10) is not None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=100), st.booleans())
def test_what_is_outstanding_adds_up(steps: list[tuple[int, float]], breaks: bool) -> None:  # noqa: FBT001
    fleet = Fleet(URLS, BreakerPolicy(failures=2, open_s=1) if breaks else None)
    now_s = 0.0
    flying: list[Address] = []
    for action, pause_s in steps:
        now_s += pause_s
        if action == 0 or not flying:
            address = fleet.pick(now_s)
            assert breaks or address is not None
            flying += [address] if address else []
            continue
        address = flying.pop(0)
        if action == 1:
            fleet.worked(address)
        elif action == 2:
            fleet.failed(address, now_s)
        else:
            fleet.abandoned(address)
    assert sum(a.outstanding for a in fleet.addresses) == len(flying)
    assert all(a.outstanding >= 0 for a in fleet.addresses)


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
