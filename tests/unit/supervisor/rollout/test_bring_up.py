"""How a version comes up, step by step, with processes that do what the test says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config.tree import Checks, Model
from headrace.core.errors import ModelLoadError
from headrace.core.protocol.messages import WorkerRef
from headrace.core.protocol.raised import Raised
from headrace.core.rollout.lifecycle import Life, State
from headrace.environments.preparing import MismatchRefused, Prepared
from headrace.registry.messages import Stored
from headrace.supervisor.processes.worker_process import WorkerSpec
from headrace.supervisor.rollout.bring_up import Surroundings, bring_up, fetch_again
from headrace.supervisor.rollout.checks import Checker, Former, Refused
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log
from tests.unit.supervisor.rollout.fakes import Environments, Processes, Registry, Store, World, quiet, resolved, until

pytestmark = pytest.mark.anyio


class Slow(Processes):
    """Is loaded and ready when the test says so."""

    def __init__(self, replicas: int) -> None:
        spec = WorkerSpec(
            key="k", model="m", label="m/1", replicas=replicas, environ={}, kept_back=frozenset(), options={},
            share_imports=False,
            timeout_s=30.0, hung_after_s=None,
        )  # fmt: skip
        super().__init__(spec, lambda: None, None)
        self.loaded_from: list[tuple[str, bool]] = []

    def load(self, path: str, prepared: Prepared, *, verified: bool) -> None:  # noqa: ARG002
        self.loaded_from.append((path, verified))

    def has(self, replicas: int) -> None:
        self._ready = tuple(WorkerRef(f"w{n}", "/nowhere.sock") for n in range(replicas))


class Rise:
    """One version on its way up: `states` are those that it has reached."""

    def __init__(self, world: World, *, replicas: int = 2, is_successor: bool = False, **checks: Any) -> None:
        self.world = world
        self.version = Version("topic", "production", 1, resolved("1"), Life())
        self.processes = Slow(replicas)
        self.states: list[State] = []
        self.former: Former | None = None
        self.has_fallback = True
        self._is_successor = is_successor
        config = msgspec.convert({"uri": "models:/topic/1", "replicas": replicas, "checks": checks}, Model)
        self._changed = asyncio.Event()
        around = Surroundings(
            progressed=self.states.append,
            until=until,
            serves=lambda: self._is_successor,
            former=lambda: self.former,
            has_fallback=lambda: self.has_fallback,
        )
        self.coroutine = bring_up(
            self.version, self.processes, config, world.dependencies, Checker(Checks(**checks), 30.0), around, quiet()
        )


async def test_a_version_is_fetched_prepared_loaded_and_ready_in_that_order() -> None:
    rise = Rise(World(resolved("1")))
    task = asyncio.create_task(rise.coroutine)
    await until(lambda: State.LOADING in rise.states)
    assert rise.states == [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING]
    assert rise.version.stored is not None
    assert rise.version.prepared in rise.world.environments.held
    assert rise.processes.loaded_from == [("/nowhere", True)], "fetched just now"
    rise.processes.load_s = 0.1
    await until(lambda: State.WARMING in rise.states)
    assert not task.done()
    rise.processes.has(1)
    await task
    assert rise.states[-2:] == [State.WARMING, State.READY], "the first to serve does not wait for all replicas"


async def test_a_successor_waits_for_all_its_replicas() -> None:
    rise = Rise(World(resolved("1")), is_successor=True)
    rise.processes.load_s = 0.1
    rise.processes.has(1)
    task = asyncio.create_task(rise.coroutine)
    await until(lambda: State.WARMING in rise.states)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    rise.processes.has(2)
    await task
    assert rise.states[-1] is State.READY


async def test_what_is_cached_is_not_fetched() -> None:
    world = World(resolved("1"))
    world.store.cached[resolved("1")] = Stored(digest="cached", path="/cached", size_bytes=1)
    rise = Rise(world)
    rise.processes.load_s = 0.1
    rise.processes.has(1)
    await rise.coroutine
    assert rise.version.stored is not None
    assert rise.version.stored.digest == "cached"
    assert rise.processes.loaded_from == [("/cached", True)]


async def test_a_refused_environment_is_told_as_data() -> None:
    class Refuses(Environments):
        async def prepare(self, model: Path, kind: Any, mismatch: Any, log: Log) -> Prepared:
            raise MismatchRefused(await super().prepare(model, kind, mismatch, log))

    world = World(resolved("1"))
    world.dependencies = replace(world.dependencies, environments=Refuses())
    rise = Rise(world)
    with pytest.raises(MismatchRefused):
        await rise.coroutine
    assert rise.version.prepared is not None
    assert rise.states == [State.FETCHED]
    assert rise.processes.loaded_from == []


async def test_only_what_takes_memory_waits_for_its_turn() -> None:
    world = World(resolved("1"))
    first, second = Rise(world), Rise(world)
    tasks = [asyncio.create_task(first.coroutine)]
    await until(lambda: State.LOADING in first.states)
    tasks.append(asyncio.create_task(second.coroutine))
    await until(lambda: State.ENVIRONMENT_READY in second.states)
    for _ in range(10):
        await asyncio.sleep(0)
    assert State.LOADING not in second.states
    for rise in (first, second):
        rise.processes.load_s = 0.1
        rise.processes.has(1)
    await asyncio.gather(*tasks)
    assert second.states[-1] is State.READY


async def test_a_check_that_says_no_ends_it_before_it_is_ready() -> None:
    rise = Rise(World(resolved("1")))
    rise.processes.load_s = 0.1
    rise.processes.has(2)
    rise.processes.warm_up = {"ok": False, "reason": "no GPU", "status": 400}
    rise.processes.raised = (Raised(type="RuntimeError", where="m.py:3", text="no GPU", traceback="Traceback ..."),)
    with pytest.raises(Refused, match="no GPU"):
        await rise.coroutine
    assert State.READY not in rise.states
    (entry,) = rise.version.failures.describe(texts=True)
    assert (entry["exception"], entry["status"], entry["traceback"]) == ("RuntimeError", 400, "Traceback ...")
    alone = Rise(World(resolved("1")))
    alone.has_fallback = False
    alone.processes.load_s = 0.1
    alone.processes.has(2)
    alone.processes.warm_up = {"ok": False, "reason": "no GPU"}
    await alone.coroutine
    assert alone.states[-1] is State.READY


@pytest.mark.parametrize(
    ("is_whole", "digest", "fetches", "error"),
    [(True, "digest-1", 0, None), (False, "digest-1", 1, None), (False, "other", 1, "holds something else by now")],
)
async def test_each_further_load_begins_with_files_that_are_whole(
    *, is_whole: bool, digest: str, fetches: int, error: str | None
) -> None:
    class Cache(Store):
        def is_whole(self, stored: Stored) -> bool:  # noqa: ARG002
            return is_whole

    class Source(Registry):
        fetched = 0

        async def fetch(self, which: Any) -> Stored:
            self.fetched += 1
            return await super().fetch(which)

    world, source = World(resolved("1")), Source(resolved("1"))
    dependencies = replace(world.dependencies, store=Cache(), registry=source)
    version = Version("topic", "production", 1, resolved("1"), Life())
    with pytest.raises(ModelLoadError, match="never fetched"):
        await fetch_again(version, dependencies, quiet())
    version.fetched(Stored(digest=digest, path="/kept", size_bytes=1))
    if error is None:
        assert await fetch_again(version, dependencies, quiet()) == "/kept"
    else:
        with pytest.raises(ModelLoadError, match=error):
            await fetch_again(version, dependencies, quiet())
    assert source.fetched == fetches
