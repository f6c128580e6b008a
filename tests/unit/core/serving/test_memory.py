"""What one connection may have of a gateway's memory."""

from __future__ import annotations

from headrace.core.serving.memory import LITTLE_BYTES, ConnectionMemory, MemoryBudget


def test_one_connection_alone_may_have_half() -> None:
    budget = MemoryBudget(1_000_000)
    account = ConnectionMemory(budget)
    account.arriving(budget.largest_bytes)
    assert account.fair
    account.arriving(budget.largest_bytes + 1)
    assert not account.fair


def test_who_has_little_is_served_whatever_others_have() -> None:
    budget = MemoryBudget(1_000_000)
    ConnectionMemory(budget).hold(2_000_000)
    account = ConnectionMemory(budget)
    account.hold(LITTLE_BYTES)
    assert account.fair
    account.hold(1)
    assert not account.fair


def test_each_connection_may_have_as_much_as_is_left_for_others() -> None:
    budget = MemoryBudget(1_000_000)
    ConnectionMemory(budget).hold(500_000)
    second = ConnectionMemory(budget)
    second.arriving(250_000)
    assert second.fair
    second.arriving(250_001)
    assert not second.fair


def test_what_arrives_and_what_is_unread_replace_what_was_told_before() -> None:
    budget = MemoryBudget(1_000_000)
    account = ConnectionMemory(budget)
    for size in (10, 100, 50):
        account.arriving(size)
        account.unread(2 * size)
    account.hold(7)
    assert (account.arriving_bytes, account.unread_bytes, account.held_bytes) == (50, 100, 157)
    assert (budget.held_bytes, budget.unread_bytes) == (157, 100)
    account.close()
    account.close()
    assert (account.arriving_bytes, account.unread_bytes, account.held_bytes) == (0, 0, 0)
    assert (budget.held_bytes, budget.unread_bytes) == (0, 0)


def test_what_is_held_is_told_beside_what_may_be() -> None:
    budget = MemoryBudget(1_000_000)
    ConnectionMemory(budget).hold(5)
    assert list(budget.samples()) == [
        ("headrace_request_memory_bytes", (), 5),
        ("headrace_request_memory_limit_bytes", (), 1_000_000),
    ]
