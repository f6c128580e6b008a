"""How many replicas are wanted, under loads that are made up, with a clock that is simulated."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.processes.scaling import Bounds, Load, Scaling

LOOK_S = 0.5


@dataclass
class Plant:
    """Replicas that work off a queue: a fluid, in seconds of one replica's time.

    A replica is there `up_s` after it is wanted. `offered` seconds of work come in each second.
    """

    bounds: Bounds
    up_s: float = 0.5
    now_s: float = 0.0
    queue_s: float = 0.0
    changes: list[tuple[float, int]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaling = Scaling(self.bounds, self.now_s)
        self.ready = self.scaling.wanted
        self._coming: list[float] = []

    def run(self, offered: float, for_s: float) -> None:
        for _ in range(int(for_s / LOOK_S)):
            self.now_s += LOOK_S
            while self._coming and self._coming[0] <= self.now_s:
                self._coming.pop(0)
                self.ready += 1
            work_s = self.queue_s + offered * LOOK_S
            done_s = min(work_s, self.ready * LOOK_S)
            self.queue_s = work_s - done_s
            wait_s = self.queue_s / self.ready if self.ready else self.queue_s
            self.waits.append(wait_s)
            load = Load(int(self.queue_s * 100) + (self.queue_s > 0), wait_s, done_s / LOOK_S)
            if self.scaling.look(load, self.ready, self.now_s):
                wanted = self.scaling.wanted
                self.changes.append((self.now_s, wanted))
                self.ready = min(self.ready, wanted)
                self._coming = [self.now_s + self.up_s] * max(0, wanted - self.ready)


loads = st.just(0.0) | st.floats(0.01, 12.0)
bounds = st.builds(
    lambda least, more, idle_s: Bounds(least, least + more, 0.1, idle_s),
    st.integers(0, 3), st.integers(1, 9), st.sampled_from([5.0, 30.0, 60.0]),
)  # fmt: skip


@settings(max_examples=25)
@given(bounds, st.lists(st.tuples(loads, st.floats(1.0, 200.0)), max_size=8), st.floats(0.0, 5.0))
def test_it_stays_within_bounds_and_never_leaves_what_waits_without_a_replica(
    bounds: Bounds, phases: list[tuple[float, float]], up_s: float
) -> None:
    plant = Plant(bounds, up_s)
    for offered, for_s in phases:
        plant.run(offered, for_s)
        assert bounds.least <= plant.scaling.wanted <= bounds.most
        if offered > 0.0:
            assert plant.scaling.wanted >= 1


@settings(max_examples=25)
@given(bounds, st.floats(0.05, 1.0), st.floats(0.0, 3.0))
def test_load_that_most_can_carry_is_carried_and_more_gets_all(bounds: Bounds, part: float, up_s: float) -> None:
    plant = Plant(bounds, up_s)
    plant.run(bounds.most * part * 0.9, 200.0)
    plant.waits.clear()
    plant.run(bounds.most * part * 0.9, 300.0)
    assert max(plant.waits) <= bounds.target_wait_s
    plant.run(bounds.most * 1.5, 60.0)
    assert plant.scaling.wanted == bounds.most


@settings(max_examples=25)
@given(bounds, loads, st.floats(0.0, 3.0))
def test_a_steady_load_does_not_make_it_swing(bounds: Bounds, offered: float, up_s: float) -> None:
    plant = Plant(bounds, up_s)
    plant.run(offered, 20 * bounds.idle_s)
    settled = len(plant.changes)
    plant.run(offered, 60 * bounds.idle_s)
    # What lies between two numbers is tried again, ever more seldom.
    assert len(plant.changes) - settled <= 2 * 60 / 16 + 4


@settings(max_examples=25)
@given(bounds, loads)
def test_after_the_load_it_goes_down_to_the_least_and_not_before_its_time(bounds: Bounds, offered: float) -> None:
    plant = Plant(bounds)
    plant.run(offered, 100.0)
    over_s, at_peak = plant.now_s, plant.scaling.wanted
    plant.queue_s = 0.0
    plant.run(0.0, bounds.idle_s - LOOK_S)
    assert plant.scaling.wanted in {at_peak, *(n for at_s, n in plant.changes if at_s > over_s)}
    plant.run(0.0, bounds.idle_s + 2 * LOOK_S)
    assert plant.scaling.wanted == bounds.least


def test_one_request_wakes_what_sleeps_once_and_a_pause_shorter_than_idle_s_does_not_put_it_to_sleep() -> None:
    scaling = Scaling(Bounds(0, 4, 0.1, 10.0), 0.0)
    assert scaling.look(Load(), 1, 5.0) is False
    assert scaling.look(Load(), 1, 11.0) is True
    assert scaling.wanted == 0
    assert scaling.look(Load(asked=1), 0, 12.0) is True
    # A thousand more, before the replica is there: one is on its way, and others would be no help.
    assert not any(scaling.look(Load(asked=n, wait_s=n / 500), 0, 12.0 + n / 500) for n in range(1000))
    assert scaling.wanted == 1
    assert scaling.look(Load(busy=0.1), 1, 15.0) is False
    assert scaling.look(Load(), 1, 24.0) is False
    assert scaling.look(Load(), 1, 25.5) is True
    assert scaling.wanted == 0


def test_a_fixed_number_is_fixed_and_other_bounds_hold_at_once() -> None:
    scaling = Scaling(Bounds.fixed(3), 0.0)
    assert scaling.look(Load(asked=100, wait_s=9.0, busy=3.0), 3, 100.0) is False
    assert scaling.configure(Bounds(1, 2), 101.0) is True
    assert scaling.wanted == 2
    assert scaling.configure(Bounds(0, 8), 102.0) is False
    assert scaling.configure(Bounds.fixed(5), 103.0) is True
    assert scaling.wanted == 5
