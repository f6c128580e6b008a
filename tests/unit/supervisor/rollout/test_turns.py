"""A few load at once, and nobody waits for ever for one that does not end."""

from __future__ import annotations

import asyncio

import pytest

from headrace.supervisor.rollout.turns import Turns
from tests.unit.supervisor.rollout.fakes import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Loads:
    """Loads that end when the test says so; `running` are those that have a turn or had one that was passed on."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.running: list[int] = []
        self.most = 0
        self.ends = [asyncio.Event() for _ in range(5)]
        self.tasks = [asyncio.create_task(self._load(number)) for number in range(5)]

    async def _load(self, number: int) -> None:
        async with self.turns.turn():
            self.running.append(number)
            self.most = max(self.most, len(self.running))
            await self.ends[number].wait()
            self.running.remove(number)

    async def finish(self) -> None:
        for end in self.ends:
            end.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_so_many_at_once_and_in_their_order() -> None:
    loads = Loads(Turns(2, None))
    await until(lambda: loads.running == [0, 1])
    loads.ends[1].set()
    await until(lambda: loads.running == [0, 2])
    loads.tasks[0].cancel()
    await until(lambda: 3 in loads.running)
    await loads.finish()
    assert loads.most <= 3  # one was cancelled, and never took itself off the list


async def test_one_that_takes_long_goes_on_and_holds_up_nobody() -> None:
    loads = Loads(Turns(1, 0.01))
    await until(lambda: loads.running == [0, 1, 2, 3, 4])
    await loads.finish()
    async with asyncio.timeout(30), loads.turns.turn():  # passed on once each, and not twice
        waiting = asyncio.create_task(loads.turns.turn().__aenter__())
        await until(waiting.done)


async def test_without_a_limit_one_waits_as_long_as_it_takes() -> None:
    loads = Loads(Turns(1, None))
    await until(lambda: loads.running == [0])
    await asyncio.sleep(0)
    assert loads.running == [0]
    await loads.finish()
    assert loads.most == 1
