"""An alias with its follower and executor, beside a registry and processes that are plain objects."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config.tree import Model
from headrace.core.errors import ModelNotFound, RegistryError, UsageError
from headrace.core.identity import Resolved
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.canary import CanaryPolicy, Neighbours
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.status import Kind
from tests.unit.supervisor.rollout.fakes import World, quiet, resolved, until

pytestmark = pytest.mark.anyio

URI = "models:/topic@production"
ORIGIN = ("registry", URI, "topic")


def make(world: World, home: Path, *, policy: CanaryPolicy | None = None, **rollout: Any) -> AliasRollout:
    config = msgspec.convert({"uri": URI, "rollout": {"bake_s": 0, **rollout}}, Model)
    history = History(home, "registry", URI, "topic", "next" if policy else None)
    return AliasRollout("topic", URI, config, world.dependencies, history, quiet(), policy=policy, lenient=bool(policy))


@asynccontextmanager
async def running(*rollouts: AliasRollout) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in rollouts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def serves(rollout: AliasRollout, version: str) -> bool:
    return rollout.serving is not None and rollout.serving.resolved.version == version


async def test_a_version_comes_up_another_replaces_it_and_all_is_ended(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path)
    async with running(one):
        await until(lambda: serves(one, "1"))
        assert (one.settled, one.status.kind) == (True, Kind.FINE)
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        await until(lambda: serves(one, "2"))
        assert one.offered == ["topic/1"]
        assert world.running == ["topic/1", "topic/2"], "the one before is kept warm"
    assert world.running == []
    assert world.environments.held == []
    assert one.executor.outcomes["succeeded"] == 2


async def test_no_registry_is_named_where_there_is_none(tmp_path: Path) -> None:
    world = World(Resolved(uri="/models/topic", name=None, version=None, source="/models/topic"))
    config = msgspec.convert({"uri": "/models/topic"}, Model)
    history = History(tmp_path, "registry", config.uri, "topic")
    one = AliasRollout("topic", config.uri, config, world.dependencies, history, quiet())
    async with running(one):
        await until(lambda: one.serving)
        assert [entry["reason"] for entry in history.last()] == ["the configuration names it"]


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_nothing_is_early_or_late_when_the_machine_s_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path, retry_s=1.0)
    by_the_machine = time.time
    async with running(one):
        await until(lambda: serves(one, "1"))
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        await until(lambda: serves(one, "2"))
        world.breaking["topic/3"] = "it needs a GPU"
        world.registry.points_at = resolved("3")
        one.orders.refresh()
        await until(lambda: one.status.kind is Kind.FAILED)
        world.registry.points_at = resolved("4")
        world.breaking["topic/4"] = "it needs a GPU"
        one.orders.refresh()
        await until(lambda: one.status.version == "topic/4")
        monkeypatch.setattr(time, "time", lambda: by_the_machine() + step_s)
        world.breaking.clear()
        await until(lambda: serves(one, "4"))
        assert one.offered[0] == "topic/2"
        assert world.running == ["topic/2", "topic/4"], "the one before is kept warm"
        assert one.serving is not None
        assert abs(one.serving.since_s - time.time()) < 60


async def test_what_does_not_come_up_leaves_what_serves_and_says_why(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path)
    async with running(one):
        await until(lambda: serves(one, "1"))
        world.breaking["topic/2"] = "it needs a GPU"
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        await until(lambda: one.status.kind is Kind.FAILED)
        assert (one.status.version, one.status.problem) == ("topic/2", "topic/2: it needs a GPU")
        assert one.record.failure is not None
        assert serves(one, "1")
        assert one.blocked
        world.breaking.clear()
        one.orders.refresh()
        await until(lambda: serves(one, "2"))
        assert one.record.failure is None


async def test_a_rollback_goes_back_at_once_and_holds(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path)
    async with running(one):
        await until(lambda: serves(one, "1"))
        with pytest.raises(UsageError, match="cannot be rolled back"):
            one.orders.roll_back("by hand")
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        await until(lambda: serves(one, "2"))
        assert one.orders.roll_back("by hand") == "topic/1 serves again"
        assert (one.held, one.record.rollbacks, one.bad) == (True, 1, [("topic/2", "by hand")])
    again = make(world, tmp_path)
    async with running(again):
        await until(lambda: again.follower.contact.asked)
        await until(lambda: serves(again, "1"))
        assert again.held, "a restart does not undo it"


async def test_processes_of_what_serves_are_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.supervisor.rollout.executor._AGAIN_S", 0.001)
    world = World(resolved("1"))
    one = make(world, tmp_path)
    async with running(one):
        await until(lambda: serves(one, "1"))
        world.made[-1].end()
        await until(lambda: len(world.made) == 2 and one.serving is not None and one.serving.ready)
        assert world.made[-1].proven


async def test_a_restart_begins_with_what_is_cached_while_the_registry_is_away(tmp_path: Path) -> None:
    first = World(resolved("1"))
    one = make(first, tmp_path)
    async with running(one):
        await until(lambda: serves(one, "1"))
    world = World(RegistryError("away"))
    world.store.pointed = resolved("1")
    world.store.cached[resolved("1")] = await world.registry.fetch(resolved("1"))
    again = make(world, tmp_path)
    async with running(again):
        await until(lambda: serves(again, "1"))
        assert again.follower.contact.problem == "away"


async def test_a_uri_that_leads_nowhere_raises(tmp_path: Path) -> None:
    one = make(World(ModelNotFound("no such alias")), tmp_path)
    with pytest.raises(ModelNotFound):
        await one.run()


async def test_a_version_that_does_badly_is_sent_back(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path, bake_s=60, min_requests=10)
    async with running(one):
        await until(lambda: serves(one, "1"))
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        await until(lambda: serves(one, "2"))
        world.traffic.failing = "topic/2"
        await until(lambda: serves(one, "1"))
        assert one.bad[0][0] == "topic/2"
        assert "after it took over, 100.0% of " in one.bad[0][1]


async def test_a_canary_shares_stands_aside_and_gives_its_share_back(tmp_path: Path) -> None:
    world, beside = World(resolved("1")), World(resolved("1"))
    main = make(world, tmp_path)
    canary = make(beside, tmp_path, policy=CanaryPolicy(Neighbours([main])), bake_s=60, min_requests=10)
    async with running(main):
        await until(lambda: serves(main, "1"))
        async with running(canary):
            await until(lambda: canary.status.kind is Kind.SHARED)
            assert (canary.status.shared, canary.status.problem) == (resolved("1"), "")
            assert beside.running == [], "what serves beside it is not brought up again"

            beside.registry.points_at = resolved("2")
            canary.orders.refresh()
            await until(lambda: serves(canary, "2"))
            assert canary.status.kind is Kind.FINE

            beside.registry.points_at = ModelNotFound("gone")
            canary.orders.refresh()
            await until(lambda: canary.status.kind is Kind.MISSING)
            assert canary.serving is None
            await until(lambda: not beside.running)
            assert len(beside.traffic.drained_pools) == 1

            beside.registry.points_at = resolved("3")
            canary.orders.refresh()
            await until(lambda: serves(canary, "3"))
            beside.traffic.failing = "topic/3"
            await until(lambda: canary.status.kind is Kind.WITHDRAWN)
            assert canary.status.problem.startswith("topic/3: withdrawn: 100.0% of ")
            assert canary.serving is None
            assert serves(main, "1"), "whatever happens to a canary, the main alias does not notice"


async def test_a_canary_does_not_bring_up_what_was_sent_back_beside_it(tmp_path: Path) -> None:
    world, beside = World(resolved("1")), World(resolved("2"))
    main = make(world, tmp_path)
    canary = make(beside, tmp_path, policy=CanaryPolicy(Neighbours([main])))
    async with running(main):
        await until(lambda: serves(main, "1"))
        world.registry.points_at = resolved("2")
        main.orders.refresh()
        await until(lambda: serves(main, "2"))
        main.orders.roll_back("by hand")
        async with running(canary):
            await until(lambda: canary.status.kind is Kind.SENT_BACK)
            assert canary.status.problem == "topic/2: sent back where it had all the traffic: by hand"
            assert beside.made == []


SIGNATURE = {"inputs": '[{"type": "string", "name": "text"}]'}


async def test_a_version_that_fails_a_made_up_example_takes_over_in_steps(tmp_path: Path) -> None:
    world = World(resolved("1"))
    world.signatures = {"topic/1": SIGNATURE, "topic/2": SIGNATURE}
    one = make(world, tmp_path, bake_s=0.3)
    async with running(one):
        await until(lambda: serves(one, "1"))  # there is nothing beside which it could begin
        world.registry.points_at = resolved("2")
        one.orders.refresh()
        shares = set()
        while not serves(one, "2"):
            await asyncio.sleep(0.001)
            shares.add(one.candidate.share if one.candidate else 0)
        assert shares == {0, 1, 10}
        assert one.serving is not None
        told = one.serving.describe()
        assert told["share"] is None
        assert "cannot be reached" in told["made_up_example"]["failed"]
        events = [(entry["event"], entry["reason"].partition(";")[0]) for entry in History(tmp_path, *ORIGIN).last()]
        assert events == [
            ("serving", "the registry points at it"),
            ("step", "1 % of the traffic"),
            ("step", "10 % of the traffic"),
            ("serving", "the registry points at it"),
        ]


async def test_a_version_that_does_badly_in_a_step_gives_its_share_back(tmp_path: Path) -> None:
    world = World(resolved("1"))
    one = make(world, tmp_path, bake_s=60, min_requests=10, steps=[50, 100])
    async with running(one):
        await until(lambda: serves(one, "1"))
        world.registry.points_at = resolved("2")
        world.traffic.failing = "topic/2"
        one.orders.refresh()
        await until(lambda: one.status.kind is Kind.WITHDRAWN)
        assert one.status.problem.startswith("topic/2: withdrawn: with 50 % of the traffic, 100.0% of ")
        await until(lambda: world.running == ["topic/1"])
        assert serves(one, "1")
        assert len(world.traffic.drained_pools) == 1
        assert one.bad[0][0] == "topic/2"
        assert (one.executor.outcomes["refused"], one.executor.outcomes["abandoned"]) == (1, 0)
