"""Which address a client asks, and when it leaves one alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.client.balancing import Address, BreakerPolicy, Fleet

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


def test_an_address_of_this_call_is_asked_again_only_where_no_other_is_well() -> None:
    fleet = Fleet(URLS[:2], None)
    assert {fleet.pick(0, frozenset({0})) for _ in range(4)} == {fleet.addresses[1]}, "however many it has in hand"
    fleet.failed(fleet.addresses[1], 0)
    assert fleet.pick(0.1, frozenset({0})) is fleet.addresses[0]


@pytest.mark.parametrize(("failures", "rest_s"), [(1, 0.25), (2, 0.5), (4, 2.0), (7, 10.0), (400, 10.0)])
def test_the_rest_doubles_up_to_ten_seconds(failures: int, rest_s: float) -> None:
    fleet = Fleet(URLS[:1], None)
    (address,) = fleet.addresses
    for _ in range(failures):
        fleet.pick(0)
        fleet.failed(address, 100)
    assert address.rests_until_s == 100 + rest_s
    assert address.outstanding == 0


def test_retry_after_lengthens_the_rest_and_never_shortens_it() -> None:
    fleet = Fleet(URLS[:1], None)
    (address,) = fleet.addresses
    fleet.pick(0)
    fleet.failed(address, 100, retry_after_s=0.01)
    assert address.rests_until_s == 100.25
    fleet.pick(0)
    fleet.failed(address, 100, retry_after_s=30)
    assert address.rests_until_s == 130


def test_an_answer_ends_the_rest_and_forgets_the_failures() -> None:
    fleet = Fleet(URLS[:1], BreakerPolicy(failures=3, open_s=5))
    (address,) = fleet.addresses
    for _ in range(2):
        fleet.pick(0)
        fleet.failed(address, 0)
    fleet.pick(0)
    fleet.worked(address)
    assert (address.failures, address.rests_until_s) == (0, 0)
    for _ in range(2):
        fleet.pick(0)
        fleet.failed(address, 0)
    assert fleet.pick(0) is address, "failures count in a row"


def test_a_try_that_was_given_up_says_nothing_and_lets_the_next_try() -> None:
    fleet = Fleet(URLS[:1], BreakerPolicy(failures=1, open_s=5))
    (address,) = fleet.addresses
    fleet.pick(0)
    fleet.failed(address, 0)
    assert fleet.pick(5) is address
    fleet.abandoned(address)
    assert (address.failures, address.outstanding) == (1, 0)
    assert fleet.pick(5) is address, "still half open"


def test_an_open_circuit_is_no_other_to_go_to() -> None:
    fleet = Fleet(URLS[:2], BreakerPolicy(failures=1, open_s=50))
    fleet.failed(fleet.addresses[1], 0)
    assert not fleet.has_other(20, frozenset({0})), "it has rested, but its circuit is open"
    assert fleet.has_other(50, frozenset({0}))


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"open_s": 0.0}])
def test_a_breaker_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**wrong)
