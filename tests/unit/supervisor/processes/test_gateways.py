"""All gateways as one, with processes that say what the test says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from headrace.core.errors import HeadraceError
from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.protocol.messages import (
    Applied,
    AskStats,
    Configure,
    Crowded,
    Drain,
    Drained,
    Hazard,
    ListensNoMore,
    News,
    Pool,
    Probe,
    Probed,
    Stats,
    Table,
    WorkerLost,
)
from headrace.supervisor.processes import gateways as module
from headrace.supervisor.processes.gateways import Gateways
from tests.unit.supervisor.rollout.fakes import quiet, until

pytestmark = pytest.mark.anyio

NAME, LABELS = "headrace_requests_total", (("model", "m"),)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Process:
    """A gateway's process; `said` is what it was told, `says` what it answers."""

    made: list[Process]

    def __init__(self, name: str, module: str, kind: Any, **given: Any) -> None:  # noqa: ARG002
        self.restarts = Restarts(RestartPolicy())
        self.pid: int | None = None
        self.connected = False
        self.said: list[Any] = []
        self.last: Any = None
        self.killed = ""
        self.pass_fds = given["pass_fds"]
        self._given = given
        self._over = asyncio.Event()
        Process.made.append(self)

    def up(self) -> None:
        self.pid, self.connected = 1000 + len(Process.made), True
        self._given["on_up"]()

    def down(self) -> None:
        self.pid, self.connected = None, False
        self._given["on_down"]()

    def says(self, message: Any) -> None:
        self._given["on_message"](message)

    def say(self, message: Any) -> None:
        if self.connected:
            self.said.append(message)

    def end_after(self, message: Any) -> None:
        self.last = message
        self._over.set()

    def kill(self, why: str) -> None:
        self.killed = why

    async def run(self) -> None:
        await self._over.wait()

    def asked(self, kind: type) -> Any:
        return next((one for one in reversed(self.said) if isinstance(one, kind)), None)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Gateways, list[Process]]]:
    Process.made = []
    monkeypatch.setattr(module, "ControlledProcess", Process)

    def made(count: int = 2, on_news: Callable[[News], None] = lambda _: None) -> tuple[Gateways, list[Process]]:
        configurations = [Configure(index=index, listeners=()) for index in range(count)]
        return Gateways(configurations, {}, quiet(), hung_after_s=None, on_news=on_news), Process.made

    return made


def table(generation: int, *pools: str) -> Table:
    made = tuple(Pool(key=key, model="m", label="m/1", mlflow_version="3") for key in pools)
    return Table(generation=generation, routes=(), pools=made)


async def test_a_gateway_is_told_how_it_is_configured_and_what_should_be(make: Any) -> None:
    gateways, (one, other) = make()
    gateways.publish(table(1, "a"))
    one.up()
    configured, told = one.said
    assert (configured.index, configured.quota_part, configured.processes, told) == (0, 0, 4, table(1, "a"))
    assert other.said == []
    assert not gateways.in_force
    assert not gateways.opened
    one.says(Applied(1))
    assert gateways.opened
    assert not gateways.in_force, "not everywhere"
    other.up()
    other.says(Applied(1))
    assert gateways.in_force
    gateways.publish(table(2))
    assert not gateways.in_force
    assert [process.asked(Table).generation for process in (one, other)] == [2, 2]
    assert (gateways.running, gateways.pids) == ([(0, one.pid), (1, other.pid)], [one.pid, other.pid])


async def test_a_pool_is_drained_when_no_gateway_has_anything_of_it(make: Any) -> None:
    gateways, (one, other) = make()
    for process in (one, other):
        process.up()
    gateways.publish(table(1, "a", "b"))
    gateways.publish(table(2, "b"))
    waiting = asyncio.create_task(gateways.drained("a"))
    one.says(Drained("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    other.down()  # who has ended has nothing
    await asyncio.wait_for(waiting, 60)
    other.up()
    await asyncio.wait_for(gateways.drained("a"), 60)
    kept = asyncio.create_task(gateways.drained("b"))
    await asyncio.sleep(0)
    assert not kept.done()
    kept.cancel()


async def test_counts_are_those_of_all_who_answer_and_never_go_back(make: Any) -> None:
    gateways, (one, other) = make()
    assert await gateways.stats() == []
    for process in (one, other):
        process.up()
    asking = asyncio.create_task(gateways.stats(60))
    await until(lambda: one.asked(AskStats) and other.asked(AskStats))
    token = one.asked(AskStats).token
    one.says(Stats(token, [(NAME, LABELS, 5.0)]))
    other.says(Stats(token, [(NAME, LABELS, 2.0)]))
    assert len(await asking) == 2
    other.down()
    other.up()
    other.says(Stats(token + 5, [(NAME, LABELS, 3.0)]))  # nobody waits for it
    assert {(name, labels): value for name, labels, value in gateways._totals.samples()} == {(NAME, LABELS): 10.0}
    assert await gateways.stats(0.0) == [], "one that does not answer in time is left out"


async def test_probes_take_turns_among_gateways_that_are_up(make: Any) -> None:
    gateways, (one, other) = make()
    assert (await gateways.probe("a", b"{}", 1.0)).status == 503
    for process in (one, other):
        process.up()
    assert (await gateways.probe("a", b"{}", 1.0)).status == 503, "they have no table yet"
    for process in (one, other):
        process.says(Applied(0))
    asked = []
    for _ in range(4):
        probing = asyncio.create_task(gateways.probe("a", b"{}", 30.0))
        await asyncio.sleep(0)
        (process,) = (p for p in (one, other) if isinstance(p.said[-1], Probe) and p.said[-1] not in asked)
        message = process.said[-1]
        asked.append(message)
        assert (message.pool, message.body, message.timeout_s) == ("a", b"{}", 30.0)
        process.says(Probed(token=message.token + 1000, status=500))  # another's
        process.says(Probed(token=message.token, status=200))
        process.says(Probed(token=message.token, status=500))  # too late
        assert (await probing).status == 200
    assert [sum(message in process.said for message in asked) for process in (one, other)] == [2, 2]


async def test_a_gateway_that_does_not_answer_a_probe_is_named(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GATEWAY_GRACE_S", 0.0)
    gateways, (one,) = make(1)
    one.up()
    one.says(Applied(0))
    probed = await gateways.probe("a", b"{}", 0.0)
    assert (probed.status, probed.reason) == (504, "gateway 0 did not answer")


async def test_what_a_gateway_says_unasked_is_passed_on(make: Any) -> None:
    news: list[News] = []
    gateways, (one,) = make(1, news.append)
    one.up()
    told: list[News] = [WorkerLost("w", 1), Hazard("a", {"nan": 1})]
    for message in told:
        one.says(message)
    one.says(Crowded("client"))
    assert news == told
    one.restarts.total = 3
    assert gateways.restarts == 3


async def test_draining_ends_who_serves_after_its_last_and_who_does_not_at_once(make: Any) -> None:
    gateways, (one, other) = make()
    running = asyncio.create_task(gateways.run())
    await asyncio.sleep(0)
    one.up()
    one.says(Applied(0))
    other.up()  # still on its way
    gateways.drain()
    await asyncio.wait_for(running, 60)
    assert (one.last, other.last) == (Drain(), None)
    gateways.kill("enough")
    assert (one.killed, other.killed) == ("enough", "enough")


async def test_a_drain_before_the_start_starts_nothing(make: Any) -> None:
    gateways, _ = make()
    gateways.drain()
    await asyncio.wait_for(gateways.run(), 60)


async def serving(make: Any) -> tuple[Gateways, Process, asyncio.Task[None]]:
    """One gateway that serves, and the task that runs it."""
    gateways, (one,) = make(1)
    running = asyncio.create_task(gateways.run())
    one.up()
    one.says(Applied(0))
    return gateways, one, running


async def replacing(gateways: Gateways, *indices: int) -> asyncio.Task[None]:
    """New gateways are being brought up; each has been started, and is not up."""
    made = [Configure(index=index, listeners=(), drain_s=1.0) for index in indices]
    count = len(Process.made) + len(made)
    task = asyncio.create_task(gateways.replace(made, None, None, 9.0))
    await until(lambda: len(Process.made) == count)
    return task


async def test_new_gateways_take_over_when_they_are_up_and_not_before(make: Any) -> None:
    gateways, (one,) = make(1)
    running = asyncio.create_task(gateways.run())
    one.up()
    gateways.publish(table(1, "a"))
    one.says(Applied(1))
    one.says(Stats(0, [(NAME, LABELS, 5.0)]))
    task = await replacing(gateways, 0, 1)
    two, three = Process.made[1:]
    two.up()
    two.says(Applied(1))
    gateways.publish(table(2, "a"))
    assert (one.last, gateways.pids) == (None, [one.pid])
    assert [p.asked(Table).generation for p in (one, two)] == [2, 2]
    three.up()
    three.says(Applied(2))
    two.says(Applied(2))
    await until(lambda: one.last is not None)
    assert one.last == Drain(within_s=9.0, patient=True)
    await asyncio.sleep(0)
    assert not task.done(), "who connects may still meet the former one"
    one.says(ListensNoMore())
    await task
    assert gateways.pids == [two.pid, three.pid]
    # What it still answers, it answers by what there is, and all of it is counted.
    gateways.publish(table(3))
    assert one.asked(Table).generation == 3
    draining = asyncio.create_task(gateways.drained("a"))
    for process in (two, three):
        process.says(Drained("a"))
    one.says(Stats(0, [(NAME, LABELS, 7.0)]))
    two.says(Stats(0, [(NAME, LABELS, 1.0)]))
    await asyncio.sleep(0)
    assert not draining.done()
    one.down()
    await asyncio.wait_for(draining, 60)
    assert {(name, labels): value for name, labels, value in gateways._totals.samples()} == {(NAME, LABELS): 8.0}
    gateways.drain()
    for process in (two, three):
        assert process.last == Drain()
    await asyncio.wait_for(running, 60)


async def test_new_gateways_take_no_client_before_all_of_them_are_up(make: Any) -> None:
    gateways, (one,) = make(1)
    running = asyncio.create_task(gateways.run())
    one.up()
    gateways.publish(table(1))
    one.says(Applied(1))
    task = await replacing(gateways, 0, 1)
    two, three = Process.made[1:]
    two.up()
    two.says(Applied(1, listens=False))
    gateways.publish(table(2))
    three.up()
    assert [(told.generation, told.open) for told in two.said if isinstance(told, Table)] == [(1, False), (2, False)]
    assert [process.asked(Table).open for process in (one, two, three)] == [True, False, False]
    three.says(Applied(2, listens=False))
    await until(lambda: three.asked(Table).open)
    assert two.asked(Table).open
    two.says(Applied(2))
    await asyncio.sleep(0)
    assert one.last is None, "a client would have waited for the other to listen"
    three.says(Applied(2))
    await until(lambda: one.last is not None)
    one.says(ListensNoMore())
    await task
    gateways.drain()
    await asyncio.wait_for(running, 60)


async def test_a_gateway_that_dies_before_it_takes_clients_is_started_again_and_nothing_goes_back(make: Any) -> None:
    gateways, one, running = await serving(make)
    task = await replacing(gateways, 0)
    two = Process.made[1]
    two.up()
    two.says(Applied(0, listens=False))
    await until(lambda: two.asked(Table).open)
    two.down()
    task.cancel()  # too late
    two.up()
    assert two.asked(Table).open
    two.says(Applied(0))
    await until(lambda: one.last is not None)
    assert gateways.pids == [two.pid]
    gateways.drain()
    await asyncio.wait_for(running, 60)


async def test_a_stop_while_new_gateways_begin_to_take_clients_is_no_wait(make: Any) -> None:
    gateways, one, running = await serving(make)
    await replacing(gateways, 0)
    two = Process.made[1]
    two.up()
    two.says(Applied(0, listens=False))
    await until(lambda: two.asked(Table).open)
    gateways.drain()
    two.down()
    one.down()
    await asyncio.wait_for(running, 30)


async def test_a_former_gateway_that_says_nothing_is_not_waited_for_without_end(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LISTENS_ON_S", 0.0)
    gateways, _, running = await serving(make)
    task = await replacing(gateways, 0)
    Process.made[1].up()
    Process.made[1].says(Applied(0))
    await asyncio.wait_for(task, 60)
    assert gateways.pids == [Process.made[1].pid]
    gateways.drain()
    await asyncio.wait_for(running, 60)


async def test_where_new_gateways_do_not_come_up_the_old_ones_go_on(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COME_UP_S", 0.0)
    gateways, one, running = await serving(make)
    await asyncio.sleep(0)
    with pytest.raises(HeadraceError, match="did not come up"):
        await gateways.replace([Configure(index=0, listeners=())], None, None, 9.0)
    assert (one.last, gateways.pids, gateways.in_force) == (None, [one.pid], True)
    gateways.drain()
    await asyncio.wait_for(running, 60)


async def test_what_clients_have_used_counts_on_and_each_part_of_it_has_one_writer(make: Any) -> None:
    gateways, (one, _) = make(2)
    running = asyncio.create_task(gateways.run())

    async def replaced(count: int) -> list[Process]:
        known = len(Process.made)
        task = await replacing(gateways, *range(count))
        made = Process.made[known:]
        for process in made:
            process.up()
            process.says(Applied(0))
        for process in Process.made[known - count : known]:
            process.says(ListensNoMore())
        await task
        return made

    def parts(processes: list[Process]) -> list[int | None]:
        return [process.asked(Configure).quota_part for process in processes]

    def memory(process: Process) -> int:
        descriptor: int = process.asked(Configure).quota_fd
        return os.fstat(descriptor).st_ino

    for process in Process.made[:2]:
        process.up()
        process.says(Applied(0))
    first, inode = Process.made[:2], memory(one)
    second = await replaced(2)
    assert (parts(first), parts(second)) == ([0, 1], [2, 3])
    assert memory(second[0]) == inode
    third = await replaced(2)  # the first still finish, and write where the third would
    assert parts(third) == [0, 1]
    assert memory(third[0]) != inode
    for process in (*first, *second):
        process.down()
    fourth = await replaced(2)
    assert parts(fourth) == [2, 3]
    assert memory(fourth[0]) == memory(third[0])
    for process in third:
        process.down()
    assert parts(await replaced(1)) == [0]
    gateways.drain()
    await asyncio.wait_for(running, 60)
