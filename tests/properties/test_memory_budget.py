"""The budget of a gateway's memory, over any order of requests, answers and ends of connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.memory import LITTLE_BYTES, ConnectionMemory, MemoryBudget

STEPS = st.lists(
    st.tuples(
        st.integers(0, 4), st.sampled_from(["arriving", "hold", "release", "unread", "close"]), st.integers(0, 1 << 20)
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 1 << 22))
def test_the_budget_is_the_sum_of_what_its_accounts_hold(steps: list[tuple[int, str, int]], limit: int) -> None:
    budget = MemoryBudget(limit)
    accounts = [ConnectionMemory(budget) for _ in range(5)]
    held: list[list[int]] = [[] for _ in accounts]
    for which, step, size in steps:
        account = accounts[which]
        if step == "arriving":
            account.arriving(size)
        elif step == "unread":
            account.unread(size)
        elif step == "hold":
            account.hold(size)
            held[which].append(size)
        elif step == "release" and held[which]:
            account.hold(-held[which].pop())
        elif step == "close":
            account.close()
            held[which].clear()
            assert account.held_bytes == 0
        assert budget.held_bytes == sum(a.held_bytes for a in accounts) >= 0
        assert budget.unread_bytes == sum(a.unread_bytes for a in accounts) >= 0
    for account in accounts:
        account.close()
    assert budget.held_bytes == budget.unread_bytes == 0


@given(st.lists(st.integers(1, 1 << 16), min_size=1, max_size=300), st.integers(1 << 18, 1 << 22))
def test_no_number_of_connections_takes_all_of_it(sizes: list[int], limit: int) -> None:
    """Each takes pieces for as long as it may: what is left after any of them is at least what it has."""
    budget = MemoryBudget(limit)
    for size in sizes:
        account = ConnectionMemory(budget)
        while account.fair and account.held_bytes < limit:
            account.arriving(account.held_bytes + size)
        account.arriving(max(0, account.held_bytes - size))
        if account.held_bytes > LITTLE_BYTES:
            assert budget.held_bytes + account.held_bytes <= limit
