"""What clients may use, counted by several processes in one memory, on a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.security.quotas import Meter, Quota, Refusal, Usage, Use, headers, memory_bytes

DAY_S = 86_400.0
SLOTS = 64
NOON_S = 20_000 * DAY_S + DAY_S / 2


@dataclass
class Machine:
    """Several processes that share a memory."""

    quotas: tuple[Quota, ...]
    processes: int = 1
    now_s: float = 1000.0
    memory: bytearray = field(init=False)
    meters: list[Meter] = field(init=False)

    def __post_init__(self) -> None:
        self.memory = bytearray(self.processes * SLOTS * 80)
        self.meters = [self.start(index) for index in range(self.processes)]

    def start(self, index: int) -> Meter:
        """A process begins."""
        meter = Meter(memoryview(self.memory), self.processes, index)
        meter.configure(self.quotas)
        return meter

    def account(self, process: int = 0, name: str = "team") -> Usage:
        """That of a key in one of them."""
        account = self.meters[process].of_key(name)
        assert account is not None
        return account

    def take(self, process: int = 0, rows: int = 1, name: str = "team") -> Use | Refusal:
        """A request comes."""
        return self.account(process, name).take(rows, self.now_s, NOON_S + self.now_s)


def passed(taken: Use | Refusal) -> Use:
    assert isinstance(taken, Use)
    return taken


def refused(taken: Use | Refusal) -> Refusal:
    assert isinstance(taken, Refusal)
    return taken


@given(
    rate=st.floats(0.5, 50),
    burst_s=st.floats(0.1, 5),
    processes=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2)), max_size=80),
)
@settings(deadline=None)
def test_no_more_passes_than_the_rate_and_what_may_come_at_once(
    rate: float, burst_s: float, processes: int, steps: list[tuple[int, float]]
) -> None:
    machine = Machine((Quota(who="*", requests_per_s=rate, burst_s=burst_s),), processes)
    began_s = machine.now_s
    for count, (process, later_s) in enumerate(steps, 1):
        machine.now_s += later_s
        taken = machine.take(process % processes)
        if isinstance(taken, Refusal):
            assert taken.limit == "requests_per_s"
            machine.now_s += taken.wait_s + 1e-9
            taken = machine.take(process % processes)
        passed(taken)  # who waits as long as was said is not refused again
        most = max(1.0, rate * burst_s) + rate * (machine.now_s - began_s)
        assert count <= most + 1e-6


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.integers(1, 5))
def test_no_more_are_under_way_than_may_be(steps: list[tuple[int, bool]], most: int) -> None:
    machine = Machine((Quota(who="*", in_flight=most),), 3)
    under_way: list[Use] = []
    for process, ends in steps:
        if ends and under_way:
            use = under_way.pop(process % len(under_way))
            use.release()
            use.release()
            continue
        taken = machine.take(process)
        if len(under_way) < most:
            under_way.append(passed(taken))
        else:
            assert refused(taken).limit == "in_flight"


def test_a_process_that_is_replaced_has_nothing_under_way_and_what_was_used_stays_used() -> None:
    machine = Machine((Quota(who="*", in_flight=2, rows_per_day=10),), 2)
    passed(machine.take(0, 4))
    passed(machine.take(1, 4))
    refused(machine.take(1))
    machine.meters[0] = machine.start(0)
    passed(machine.take(0, 2))
    assert refused(machine.take(0)).limit == "in_flight"
    machine.meters[1] = machine.start(1)
    assert refused(machine.take(1)).limit == "rows_per_day"


def test_rows_of_a_day_are_those_that_there_were() -> None:
    machine = Machine((Quota(who="*", rows_per_day=100),), 2)
    passed(machine.take(0, 90)).release(30)  # it was guessed too high
    passed(machine.take(1, 20)).release(60)  # and too low
    passed(machine.take(0, 500)).release(9)  # and much too high
    passed(machine.take(0, 1)).release()  # and is not known
    refusal = refused(machine.take(0))
    assert (refusal.limit, refusal.most, refusal.left) == ("rows_per_day", 100, 0)
    machine.now_s += refusal.wait_s - 1
    refused(machine.take(1))
    machine.now_s += 1
    passed(machine.take(1, 100))
    refused(machine.take(0))


def test_what_was_begun_yesterday_does_not_count_today() -> None:
    machine = Machine((Quota(who="*", rows_per_day=10),))
    late = passed(machine.take(0, 10))
    machine.now_s += DAY_S
    passed(machine.take(0, 4)).release(4)
    late.release(1000)
    passed(machine.take(0, 6))
    refused(machine.take(0))


def test_a_request_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for_afterwards() -> None:
    machine = Machine((Quota(who="*", rows_per_s=10),))
    passed(machine.take(0, 100)).release(100)
    assert refused(machine.take()).wait_s == pytest.approx(9.1)
    machine.now_s += 9.2
    passed(machine.take())


def test_each_has_an_account_and_the_first_that_fits_holds() -> None:
    quotas = (
        Quota(who="batch-*", in_flight=1),
        Quota(who="10.0.0.*", in_flight=2),
        Quota(who="anonymous", in_flight=3),
    )
    machine = Machine(quotas)
    meter = machine.meters[0]
    assert meter.of_key("web") is None, "nothing bounds it"
    assert meter.of_key("10.0.0.1") is not None, "a name is a name, whatever it looks like"
    ours, others = meter.of_address("10.0.0.1"), meter.of_address("192.168.0.1")
    assert ours is not None
    assert others is not None
    assert (ours.quota.in_flight, others.quota.in_flight) == (2, 3)
    assert (ours.name, others.name) == ("anonymous", "anonymous")
    passed(machine.take(name="batch-1"))
    passed(machine.take(name="batch-2"))
    refused(machine.take(name="batch-1"))


def test_new_quotas_hold_at_once_and_the_same_change_nothing() -> None:
    machine = Machine((Quota(who="*", requests_per_s=1),))
    passed(machine.take())
    machine.meters[0].configure((Quota(who="*", requests_per_s=1),))
    refused(machine.take())
    machine.meters[0].configure((Quota(who="*", in_flight=1),))
    assert refused(machine.take()).limit == "in_flight"
    machine.meters[0].configure(())
    assert machine.meters[0].of_key("team") is None


def test_more_clients_than_there_is_room_for() -> None:
    machine = Machine((Quota(who="*", in_flight=1),))
    machine.now_s = 0.0
    held = passed(machine.take(name="held"))
    for number in range(5 * SLOTS):
        machine.now_s += 0.001
        passed(machine.take(name=f"client {number}")).release()
    refused(machine.take(name="held"))
    held.release()
    passed(machine.take(name="held"))


def test_memory_is_a_few_pages_until_it_is_used() -> None:
    assert memory_bytes(2) == 2 * memory_bytes(1) <= 4 * 1024 * 1024


def test_headers_say_what_was_met() -> None:
    assert headers(Refusal("requests_per_s", 50, 0.4, 0.012)) == (
        b"ratelimit-limit: 50\r\nratelimit-remaining: 0\r\nratelimit-reset: 1\r\nratelimit-policy: 50;w=1\r\n"
    )
    assert b"ratelimit-policy: 1;w=4\r\n" in headers(Refusal("requests_per_s", 0.25, 0, 3.0))
    assert b"ratelimit-policy: 9;w=86400\r\n" in headers(Refusal("rows_per_day", 9, 3, 100.0))
