"""The executor carries out what the rollout decides, with processes and gateways that are plain objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config.tree import Model
from headrace.core.identity import Resolved, parse_model_uri
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.rollout import Rollout
from headrace.environments.preparing import Prepared
from headrace.supervisor.rollout import executor as module
from headrace.supervisor.rollout.executor import Executor
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.policy import AliasPolicy
from headrace.supervisor.rollout.record import AliasRecord
from headrace.supervisor.rollout.status import Kind
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log
from tests.unit.supervisor.rollout.fakes import Environments, Traffic, World, quiet, resolved, until

pytestmark = pytest.mark.anyio

URI = "models:/topic@production"


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.served: list[tuple[str, str | None]] = []
        self.changes = 0
        self.broken: list[Exception] = []

    def serves(self, version: Version, old: Version | None, reason: str) -> None:  # noqa: ARG002
        self.served.append((version.label, old.label if old else None))

    def shares(self, version: Version, percent: int) -> None:
        raise NotImplementedError

    def changed(self) -> None:
        self.changes += 1

    def broke(self, what: str, error: Exception) -> None:  # noqa: ARG002
        self.broken.append(error)


class Executing:
    """An executor and everything around it; `points` is what the registry would say."""

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.owner = Owner()
        self.rollout = Rollout[Resolved](keep_old_s=0.0)
        self.record = AliasRecord(History(home, "registry", URI, "topic"), quiet())
        config = msgspec.convert({"uri": URI}, Model)
        self.executor = Executor(
            "topic",
            parse_model_uri(URI),
            config,
            self.rollout,
            AliasPolicy(),
            world.dependencies,
            self.record,
            self.owner,
            quiet(),
        )

    def points(self, version: str) -> None:
        self.executor.do(self.rollout.pointed(resolved(version), 0.0))

    def time_passes(self) -> None:
        """Until no version is kept warm any longer."""
        self.executor.do(self.rollout.tick(1e12))

    def serves(self, version: str) -> bool:
        serving = self.executor.serving
        return serving is not None and serving.resolved.version == version


@asynccontextmanager
async def executing(world: World, home: Path) -> AsyncIterator[Executing]:
    one = Executing(world, home)
    try:
        yield one
    finally:
        await one.executor.close()


async def test_a_version_is_brought_up_replaced_drained_and_ended(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with executing(world, tmp_path) as one:
        one.points("1")
        assert one.executor.candidate is not None
        await until(lambda: one.serves("1"))
        first = one.executor.serving
        assert first is not None
        one.points("2")
        await until(lambda: one.serves("2"))
        assert one.executor.warm is first, "kept for a rollback"
        one.time_passes()
        await until(lambda: world.running == ["topic/2"])
        assert one.owner.served == [("topic/1", None), ("topic/2", "topic/1")]
        assert world.traffic.drained_pools == [first.key]
        assert (len(one.executor.versions), len(world.environments.held)) == (1, 1)
        assert one.executor.outcomes == {"succeeded": 2, "failed": 0, "refused": 0, "abandoned": 0}
    assert (world.running, world.environments.held) == ([], [])


async def test_nothing_ends_before_its_last_answer_is_out(tmp_path: Path) -> None:
    class Busy(Traffic):
        def __init__(self) -> None:
            super().__init__()
            self.done = asyncio.Event()

        async def drained(self, pool: str) -> None:
            await super().drained(pool)
            await self.done.wait()

    world, busy = World(resolved("1")), Busy()
    world.dependencies = replace(world.dependencies, traffic=busy)
    async with executing(world, tmp_path) as one:
        one.points("1")
        await until(lambda: one.serves("1"))
        one.points("2")
        await until(lambda: one.serves("2"))
        one.time_passes()
        await until(lambda: busy.drained_pools)
        assert world.running == ["topic/1", "topic/2"]
        busy.done.set()
        await until(lambda: world.running == ["topic/2"])


async def test_what_is_not_wanted_any_more_is_abandoned_without_waiting(tmp_path: Path) -> None:
    class Never(Environments):
        async def prepare(self, model: Path, kind: Any, mismatch: Any, log: Log) -> Prepared:
            if self.held:
                await asyncio.Event().wait()
            return await super().prepare(model, kind, mismatch, log)

    world = World(resolved("1"))
    world.dependencies = replace(world.dependencies, environments=Never())
    async with executing(world, tmp_path) as one:
        one.points("1")
        await until(lambda: one.serves("1"))
        one.points("2")
        await until(lambda: one.executor.candidate and one.executor.candidate.life.state is State.FETCHED)
        one.points("1")
        await until(lambda: len(one.executor.versions) == 1)
        assert one.executor.outcomes["abandoned"] == 1
        assert world.traffic.drained_pools == [], "it had nothing of the traffic"


async def test_what_does_not_come_up_is_recorded_and_nothing_stays_behind(tmp_path: Path) -> None:
    world = World(resolved("1"))
    world.breaking["topic/1"] = "no GPU"
    async with executing(world, tmp_path) as one:
        one.points("1")
        await until(lambda: one.record.status.kind is Kind.FAILED)
        assert one.record.status.problem == "topic/1: no GPU"
        await until(lambda: not one.executor.versions)
        assert (world.environments.held, one.executor.outcomes["failed"], one.owner.changes) == ([], 1, 1)
        assert resolved("1") in one.rollout.marks


async def test_a_defect_of_headrace_fails_the_version_and_says_its_type(tmp_path: Path) -> None:
    class Broken(Environments):
        async def prepare(self, model: Path, kind: Any, mismatch: Any, log: Log) -> Prepared:  # noqa: ARG002
            raise ZeroDivisionError("by 0")

    world = World(resolved("1"))
    world.dependencies = replace(world.dependencies, environments=Broken())
    async with executing(world, tmp_path) as one:
        one.points("1")
        await until(lambda: one.record.status.kind is Kind.FAILED)
        assert one.record.status.problem == "topic/1: ZeroDivisionError: by 0"


async def test_what_serves_is_started_again_without_checks_and_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    world = World(resolved("1"))
    async with executing(world, tmp_path) as one:
        one.points("1")
        await until(lambda: one.serves("1"))
        published = world.traffic.published
        world.made[-1].end()
        await until(lambda: len(world.made) == 2 and world.made[-1].ready)
        assert one.serves("1")
        assert world.made[-1].proven, "it is known to load"
        assert world.traffic.published > published
        assert one.record.status.kind is Kind.FINE


async def test_an_error_in_what_nobody_awaits_is_told_to_the_owner(tmp_path: Path) -> None:
    async def breaks() -> None:
        raise LookupError("lost")

    async with executing(World(resolved("1")), tmp_path) as one:
        await one.executor.hold(breaks())
        assert [str(error) for error in one.owner.broken] == ["lost"]


async def test_once_closed_it_does_nothing_more(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = Executing(world, tmp_path)
    one.points("1")
    await until(lambda: one.serves("1"))
    await one.executor.close()
    published = world.traffic.published
    one.points("2")
    one.executor.publish()
    assert (len(world.made), world.traffic.published, world.running) == (1, published, [])


async def test_counts_of_ended_processes_outlive_their_version_but_not_all_of_them(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with executing(world, tmp_path) as one:
        for number in range(1, 36):
            one.points(str(number))
            await until(lambda number=number: one.serves(str(number)))  # type: ignore[misc]
        assert [*one.executor.ended] == [f"topic/{number}" for number in range(4, 36)]
