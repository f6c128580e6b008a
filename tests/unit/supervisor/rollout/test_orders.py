"""What operators ask for, by the admin API, of a model whose registry and processes are plain objects."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from headrace.config.load import parse
from headrace.config.tree import Model
from headrace.core.errors import HeadraceError
from headrace.supervisor.admin.error_answers import answer_refused
from headrace.supervisor.admin.orders import order_routes
from headrace.supervisor.app import Supervisor
from headrace.supervisor.rollout.history import History
from headrace.supervisor.served_model import ServedModel
from headrace.telemetry.logs import make_log
from tests.unit.supervisor.rollout.fakes import World, quiet, resolved, until

pytestmark = pytest.mark.anyio

URI = "models:/topic@production"


class Desk:
    """A model, and who gives orders."""

    def __init__(self, model: ServedModel, client: httpx.AsyncClient) -> None:
        self.model = model
        self._client = client

    async def ask(self, what: str, code: int = 200, **params: str) -> str:
        """Give one order; returns what is said."""
        answer = await self._client.post(f"/api/models/topic/{what}", params=params)
        assert answer.status_code == code, answer.text
        return str(answer.json().get("message"))

    def serves(self, version: str) -> bool:
        return self.model.current is not None and self.model.current.resolved.version == version


@asynccontextmanager
async def desk(world: World, home: Path, uri: str = URI) -> AsyncIterator[Desk]:
    config = msgspec.convert({"uri": uri, "rollout": {"bake_s": 0}, "replicas": 2}, Model)
    history = History(home, "registry", uri, "topic")
    model = ServedModel("topic", config, world.dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0)
    server = Supervisor(parse({"models": {"topic": {"uri": uri, "port": 0}}}), make_log(stream=io.StringIO()), {})
    server.models["topic"] = model
    app = Starlette(routes=order_routes(server), exception_handlers={HeadraceError: answer_refused})
    running = asyncio.create_task(model.run())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        try:
            yield Desk(model, client)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def events(one: Desk) -> list[str]:
    return [entry["event"] for entry in one.model.history.last()]


async def test_a_pause_keeps_the_version_over_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with desk(world, tmp_path) as one:
        assert "nothing serves yet" in await one.ask("pause", 409)
        await until(lambda: one.serves("1"))
        assert "is not paused" in await one.ask("resume", 409)
        assert "paused at topic/1" in await one.ask("pause", reason="the sale")
        world.registry.points_at = resolved("2")
        await one.ask("refresh", 202)
        asked = world.registry.asked
        await until(lambda: world.registry.asked > asked)
        assert (one.model.describe()["paused"], one.model.main.candidate) == (True, None)
        assert "headrace resume topic" in await one.ask("rollback", 409)
    async with desk(world, tmp_path) as one:
        await until(lambda: one.serves("1"))
        assert one.model.main.paused
        assert one.model.main.record.status.problem == ""
        await one.ask("resume")
        await until(lambda: one.serves("2"))
        assert events(one) == ["serving", "paused", "serving", "resumed", "serving"]
        assert not one.model.describe()["paused"]


async def test_a_rollback_may_name_the_version(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with desk(world, tmp_path) as one:
        for version in ("1", "2", "3"):
            world.registry.points_at = resolved(version)
            await one.ask("refresh", 202)
            await until(lambda: one.serves(version))  # noqa: B023 - called at once
        assert one.model.describe()["offered"] == ["topic/2", "topic/1"]
        assert "there are: topic/2, topic/1" in await one.ask("rollback", 409, to="7")
        assert "topic/3 serves now, not topic/9" in await one.ask("rollback", 409, to="1", **{"from": "topic/9"})
        await one.ask("rollback", to="1")
        await until(lambda: one.serves("1"))
        assert one.model.describe()["offered"] == []


async def test_a_version_that_failed_its_requests_is_not_offered(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with desk(world, tmp_path) as one:
        await until(lambda: one.serves("1"))
        counted: dict[tuple[str, str], Any] = {}
        world.made[-1].warm_up = {"ok": False, "reason": "no weights"}
        one.model.answers.flipped(one.model.current, counted)
        one.model._health_changed()
        assert one.model.answers.failing
        world.registry.points_at = resolved("2")
        await one.ask("refresh", 202)
        await until(lambda: one.serves("2"))
        assert one.model.describe()["offered"] == []
        assert "cannot be rolled back" in await one.ask("rollback", 409)


async def test_promote_moves_the_alias_and_follows_it(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with desk(world, tmp_path) as one:
        await until(lambda: one.serves("1"))
        assert "version" in await one.ask("promote", 400)
        said = await one.ask("promote", version="2")
        assert said == "the alias 'production' of 'topic' points at version 2 (it was 1); it is brought up now"
        await until(lambda: one.serves("2"))
        await one.ask("pause")
        assert "it is paused" in await one.ask("promote", version="3")
        assert one.serves("2")
    async with desk(World(resolved("1")), tmp_path, "models:/topic/1") as one:
        await until(lambda: one.serves("1"))
        assert "only an alias can be moved" in await one.ask("promote", 409, version="2")


async def test_a_scale_holds_for_what_comes_later_and_is_told(tmp_path: Path) -> None:
    world = World(resolved("1"))
    async with desk(world, tmp_path) as one:
        await until(lambda: one.serves("1"))
        for wrong in ("0", "-1", "1025", "many", "", "²"):
            assert "a number from 1 to 1024" in await one.ask("scale", 400, replicas=wrong)
        assert await one.ask("scale", replicas="3") == "3 replicas (there were 2); a restart goes back to 2"
        told = {"wanted": 3, "ready": 3, "configured": 2, "ordered": 3, "why": None}
        assert one.model.describe()["replicas"] == told
        world.registry.points_at = resolved("2")
        await one.ask("refresh", 202)
        await until(lambda: one.serves("2"))
        told = {"wanted": 3, "ready": 3, "configured": 2, "ordered": 3, "why": None}
        assert one.model.describe()["replicas"] == told
        assert await one.ask("scale", replicas="1") == "1 replica (there were 3); a restart goes back to 2"
        assert one.model.describe()["replicas"]["ready"] == 1
        assert await one.ask("scale", replicas="auto") == "2 replicas, as configured (there were 1)"
        assert one.model.describe()["replicas"] == {**told, "wanted": 2, "ready": 2, "ordered": None}
