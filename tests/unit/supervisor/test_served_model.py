"""One served model: its aliases and its route, beside a registry and processes that are plain objects."""

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
from headrace.core.errors import ConfigError, ModelNotFound, RegistryError
from headrace.core.identity import Resolved
from headrace.core.protocol.messages import PoolLoad, Shadow, Share
from headrace.supervisor.load_watch import LoadWatch
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.history import History
from headrace.supervisor.served_model import ServedModel
from tests.unit.supervisor.rollout.fakes import Processes, Registry, World, quiet, resolved, until

pytestmark = pytest.mark.anyio

URI = "models:/topic@production"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Aliases(Registry):
    """Answers by alias; one that is not there is gone."""

    def __init__(self, **points_at: str) -> None:
        super().__init__(resolved("1"))
        self.by_alias = points_at

    async def resolve(self, uri: str, *, patient: bool = False) -> Resolved:  # noqa: ARG002
        await asyncio.sleep(0)
        alias = uri.rpartition("@")[2]
        if alias not in self.by_alias:
            raise ModelNotFound(f"no alias {alias}")
        return resolved(self.by_alias[alias])


class Served:
    """A model, and the world that it is served in."""

    def __init__(self, home: Path, registry: Registry, failing: str, config: dict[str, Any]) -> None:
        self.world = World(resolved("1"))
        self.warm_up: dict[str, Any] = {"ok": True}
        dependencies = replace(self.world.dependencies, registry=registry, make_processes=self._make)
        history = History(home, "registry", URI, "topic")
        settings = msgspec.convert({"uri": URI, "rollout": {"bake_s": 0}, **config}, Model)
        self.model = ServedModel(
            "topic", settings, dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0, failing=failing
        )

    def _make(self, *given: Any) -> Processes:
        made = self.world.dependencies.make_processes(*given)
        assert isinstance(made, Processes)
        made.warm_up = self.warm_up
        return made

    def key(self, version: str) -> str:
        """The pool of a version."""
        return next(one.key for one in self.model.versions if one.resolved.version == version)

    def serves(self, version: str) -> bool:
        return self.model.current is not None and self.model.current.resolved.version == version


@asynccontextmanager
async def serving(home: Path, registry: Registry, failing: str = "warn", **config: Any) -> AsyncIterator[Served]:
    served = Served(home, registry, failing, config)
    task = asyncio.create_task(served.model.run())
    try:
        yield served
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_model_has_a_route_before_it_serves_that_says_why(tmp_path: Path) -> None:
    served = Served(tmp_path, Registry(RegistryError("away")), "warn", {"timeout_s": 3.0})
    route = served.model.route()
    assert (route.model, route.pool, route.timeout_s, route.split) == ("topic", None, 3.0, None)
    assert route.reason
    assert (served.model.ready, served.model.pools(), served.model.describe()["state"]) == (False, [], "STARTING")


async def test_what_serves_is_the_route_s_pool(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1")) as served:
        await until(lambda: served.serves("1"))
        route = served.model.route()
        assert (route.pool, route.reason, route.split) == (served.key("1"), "", None)
        assert [pool.key for pool in served.model.pools()] == [served.key("1")]
        told = served.model.describe()
        assert (told["state"], told["ready"], told["replicas"]) == (
            "SERVING",
            True,
            {"wanted": 1, "ready": 1, "configured": 1, "ordered": None, "why": None},
        )
        assert served.model.settled
        assert served.model.registered_name == "topic"


async def test_a_model_without_a_worker_is_unready_and_keeps_its_route(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1")) as served:
        await until(lambda: served.serves("1"))
        served.world.made[-1].end()
        assert not served.model.ready
        route = served.model.route()
        assert (route.pool, route.reason) == (
            served.key("1"),
            "no worker is ready at the moment; one is being started",
        )
        assert served.model.describe()["state"] == "UNREADY"


async def test_a_uri_that_leads_nowhere_is_named_by_its_path(tmp_path: Path) -> None:
    served = Served(tmp_path, Aliases(), "warn", {})
    with pytest.raises(ConfigError) as caught:
        await served.model.run()
    assert caught.value.path == "models.topic.uri"


async def test_canaries_have_their_shares_copies_and_pins(tmp_path: Path) -> None:
    config: dict[str, Any] = {"traffic": {"production": 90, "next": 10}, "shadow": "dark", "pin_header": True}
    async with serving(tmp_path, Aliases(production="1", next="2", dark="3"), **config) as served:
        await until(lambda: served.serves("1") and len(served.model.pools()) == 3)
        one, two, three = map(served.key, "123")
        route = served.model.route()
        split = route.split
        assert split is not None
        assert (route.pool, split.shares) == (one, (Share(two, 10), Share(one, 90)))
        assert split.shadow == Shadow(three, 1.0)
        assert split.pins == {"1": one, "2": two, "3": three, "production": one, "next": two, "dark": three}
        sides = served.model.describe()["sides"]
        assert [(name, side["weight"], side["shadow"]) for name, side in sides.items()] == [
            ("next", 10, False),
            ("dark", 0, True),
        ]


async def test_a_canary_that_shares_the_main_version_takes_no_other_pool(tmp_path: Path) -> None:
    registry = Aliases(production="1", next="1")
    async with serving(tmp_path, registry, traffic={"production": 90, "next": 10}) as served:
        await until(lambda: served.model.canaries["next"].status.shared is not None)
        assert served.model.route().split is None
        assert len(served.model.pools()) == 1
        assert served.model.describe()["sides"]["next"]["resting"] == "topic/1"
        registry.by_alias["production"] = "2"
        served.model.refresh()
        await until(lambda: served.serves("2") and served.model.canaries["next"].serving is not None)
        own = served.model.canaries["next"].serving
        split = served.model.route().split
        assert own is not None
        assert split is not None
        assert split.shares == (Share(own.key, 10), Share(served.key("2"), 90))


async def test_a_canary_that_is_gone_leaves_its_share_to_the_main_version(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1"), traffic={"production": 90, "next": 10}) as served:
        await until(lambda: served.model.canaries["next"].status.missing)
        assert served.model.route().split is None
        assert served.model.ready


async def test_no_canary_is_brought_up_before_the_main_version_serves(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(next="2"), traffic={"production": 90, "next": 10}) as served:
        for _ in range(20):
            await asyncio.sleep(0)
        assert served.world.made == []


async def test_leaving_takes_it_out_and_waits_for_what_was_given(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1")) as served:
        await until(lambda: served.serves("1"))
        published = served.world.traffic.published
        await served.model.leave()
        assert served.model.pools() == []
        assert served.world.traffic.published == published + 1
        assert served.world.traffic.drained_pools == [served.key("1")]


@pytest.mark.parametrize(("failing", "ready"), [("warn", True), ("unready", False)])
async def test_a_model_that_fails_its_own_example_is_failing_and_unready_where_that_is_to_count(
    tmp_path: Path, failing: str, *, ready: bool
) -> None:
    served = Served(tmp_path, Aliases(production="1"), failing, {"checks": {"example": "warn"}})
    served.warm_up = {"ok": False, "reason": "no GPU"}
    task = asyncio.create_task(served.model.run())
    await until(lambda: served.serves("1") and served.model.answers.failing)
    route = served.model.route()
    assert (served.model.ready, served.model.describe()["state"]) == (ready, "FAILING")
    assert route.failing == "its own example fails: no GPU"
    assert route.unwell == ("" if ready else route.failing)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_other_settings_hold_at_once_and_aliases_come_and_go(tmp_path: Path) -> None:
    registry = Aliases(production="1", next="2", dark="3")
    config: dict[str, Any] = {"traffic": {"production": 90, "next": 10}}
    async with serving(tmp_path, registry, **config) as served:
        model = served.model
        await until(lambda: served.serves("1") and len(model.pools()) == 2)
        one, two = served.key("1"), served.key("2")

        def become(**settings: Any) -> None:
            changed = msgspec.convert({"uri": URI, "rollout": {"bake_s": 0}, **settings}, Model)
            model.configure(changed, model._dependencies, "strict", failing="unready", canary_poll_s=3600.0)

        become(timeout_s=3.0, traffic={"production": 1, "next": 1})
        route = model.route()
        assert (route.timeout_s, route.errors) == (3.0, "strict")
        assert route.split is not None
        assert route.split.shares == (Share(two, 1), Share(one, 1))
        become(traffic={"production": 1, "dark": 1}, replicas=2)
        await until(lambda: [version.resolved.version for version in model.versions] == ["1", "3"])
        await until(lambda: len(model.pools()) == 2)
        assert list(model.canaries) == ["dark"]
        assert {version.workers.spec.replicas for version in model.versions if version.workers} == {2}
        become(replicas=2)
        await until(lambda: [version.key for version in model.versions] == [one])
        assert model.route().split is None


async def test_what_an_operator_has_scaled_stays_while_the_settings_say_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1")) as served:
        model = served.model
        await until(lambda: served.serves("1"))
        model.scale(4)
        for wanted, timeout_s, replicas in ((4, 5.0, 1), (2, 5.0, 2)):
            changed = msgspec.convert({"uri": URI, "timeout_s": timeout_s, "replicas": replicas}, Model)
            model.configure(changed, model._dependencies, "mlflow", failing="warn", canary_poll_s=3600.0)
            assert model.replicas == wanted


async def test_replicas_follow_what_all_gateways_report_within_bounds_that_change_live(tmp_path: Path) -> None:
    def settings(replicas: object, **more: object) -> Model:
        return msgspec.convert({"uri": URI, "replicas": replicas, "target_wait_ms": 10.0, "idle_s": 5.0, **more}, Model)

    def become(config: Model) -> None:
        model.configure(config, model._dependencies, "mlflow", failing="warn", canary_poll_s=3600.0)

    async with serving(tmp_path, Aliases(production="1")) as served:
        model = served.model
        await until(lambda: served.serves("1"))
        become(settings({"min": 1, "max": 3}))
        assert [pool.follows for pool in model.pools()] == [True]
        loads, key, now_s = LoadWatch(lambda: [model], quiet()), model.pools()[0].key, clock.now_s()
        for second in range(4):
            for gateway in (1, 2):
                loads.heed(PoolLoad(gateway=gateway, pool=key, asked=5, wait_s=0.2, busy=0.5))
            loads.look(now_s + second / 2)
        assert (model.replicas, model.current.ready if model.current else 0) == (2, 2)
        model.scale(3)
        loads.look(now_s + 100.0)
        assert (model.replicas, model.pools()[0].follows) == (3, False)
        model.scale(None)
        # Its gateways have said nothing for longer than they may: what they said counts no more.
        for later_s in (200.0, 206.0):
            loads.look(now_s + later_s)
        assert (model.replicas, model.describe()["replicas"]["configured"]) == (1, {"min": 1, "max": 3})
        become(settings({"min": 2, "max": 2}))
        assert (model.replicas, model.pools()[0].follows) == (2, False)


async def test_what_sleeps_is_ready_and_what_cannot_be_woken_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path, Aliases(production="1")) as served:
        model = served.model
        await until(lambda: served.serves("1"))
        config = msgspec.convert({"uri": URI, "replicas": {"min": 0, "max": 3}, "idle_s": 5.0}, Model)
        model.configure(config, model._dependencies, "mlflow", failing="warn", canary_poll_s=3600.0)
        loads, now_s = LoadWatch(lambda: [model], quiet()), clock.now_s()
        for later_s in (0.0, 6.0):
            loads.look(now_s + later_s)
        told = model.describe()
        assert (told["state"], told["ready"], told["replicas"]["wanted"]) == ("ASLEEP", True, 0)
        assert [(pool.asleep, pool.workers) for pool in model.pools()] == [(True, ())]
        world_processes = model.current.workers if model.current else None
        assert isinstance(world_processes, Processes)
        world_processes.trouble = "no weights"
        told = model.describe()
        assert (told["state"], told["ready"]) == ("UNREADY", False)
        assert "could not be woken: no weights" in told["reason"]
        assert [(pool.asleep, pool.trouble) for pool in model.pools()] == [(False, "no weights")]
        world_processes.trouble = ""
        key = model.pools()[0].key
        for _ in range(1000):
            loads.heed(PoolLoad(gateway=1, pool=key, asked=1, wait_s=0.0, busy=0.0))
        told = model.describe()
        assert (told["state"], told["replicas"]["wanted"], told["replicas"]["why"]) == ("SERVING", 1, "it is asked for")
