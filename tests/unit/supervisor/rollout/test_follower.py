"""What the follower makes of the registry's answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headrace.core.errors import ModelNotFound, RegistryError
from headrace.core.identity import Resolved, parse_model_uri
from headrace.supervisor.rollout.follower import RegistryFollower
from headrace.supervisor.rollout.version import Version
from tests.unit.supervisor.rollout.fakes import Registry, quiet, resolved, until

pytestmark = pytest.mark.anyio


class Listener:
    """Notes what it is told."""

    def __init__(self, *, is_new: bool = False, acts_on_absence: bool = False) -> None:
        self.told: list[object] = []
        self._is_new = is_new
        self._acts_on_absence = acts_on_absence

    @property
    def is_new(self) -> bool:
        return self._is_new

    @property
    def candidate(self) -> Version | None:
        return None

    @property
    def serving(self) -> Version | None:
        return None

    def pointed(self, resolved: Resolved) -> None:
        self.told.append(resolved.version)
        if resolved.version == "broken":
            raise ZeroDivisionError

    def unreachable(self) -> None:
        self.told.append("unreachable")

    def absent(self, why: str) -> bool:
        self.told.append(f"absent: {why}")
        return self._acts_on_absence

    def broke(self, what: str, error: Exception) -> None:
        self.told.append((what, type(error)))


@asynccontextmanager
async def following(
    registry: Registry, listener: Listener, uri: str = "models:/topic@production", poll_s: float | None = None
) -> AsyncIterator[RegistryFollower]:
    follower = RegistryFollower(parse_model_uri(uri), registry, poll_s, listener, quiet())
    task = asyncio.create_task(follower.run())
    yield follower
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_says_what_the_registry_points_at_and_asks_again_when_told_to() -> None:
    registry, listener = Registry(resolved("1")), Listener()
    async with following(registry, listener) as follower:
        await until(lambda: listener.told == ["1"] and follower.contact.asked)
        registry.points_at = resolved("2")
        follower.ask_now()
        await until(lambda: listener.told == ["1", "2"])


async def test_it_asks_at_intervals() -> None:
    registry, listener = Registry(resolved("1")), Listener()
    async with following(registry, listener, poll_s=0.001):
        await until(lambda: registry.asked > 3)


async def test_a_fixed_version_is_asked_for_once() -> None:
    registry, listener = Registry(resolved("1")), Listener()
    async with following(registry, listener, "models:/topic/1", poll_s=0.001):
        await until(lambda: listener.told)
        await asyncio.sleep(0.05)
        assert registry.asked == 1


async def test_a_registry_that_cannot_be_asked_is_a_problem_until_it_can() -> None:
    registry, listener = Registry(RegistryError("it is away")), Listener()
    async with following(registry, listener) as follower:
        await until(lambda: listener.told == ["unreachable"])
        assert (follower.contact.problem, follower.contact.lost_s is None) == ("it is away", False)
        registry.points_at = resolved("1")
        follower.ask_now()
        await until(lambda: listener.told == ["unreachable", "1"])
        assert (follower.contact.problem, follower.contact.lost_s) == ("", None)


async def test_a_uri_that_leads_nowhere_is_a_mistake_where_nothing_has_served() -> None:
    registry = Registry(ModelNotFound("no such alias"))
    follower = RegistryFollower(
        parse_model_uri("models:/topic@production"), registry, None, Listener(is_new=True), quiet()
    )
    with pytest.raises(ModelNotFound, match="no such alias"):
        await follower.run()


@pytest.mark.parametrize("acts", [True, False])
async def test_an_alias_that_is_gone(*, acts: bool) -> None:
    registry, listener = Registry(ModelNotFound("gone")), Listener(acts_on_absence=acts)
    async with following(registry, listener) as follower:
        await until(lambda: follower.contact.asked)
        assert listener.told == ["absent: gone"] + ([] if acts else ["unreachable"])
        assert follower.contact.problem == ("" if acts else "gone")


async def test_an_error_of_its_own_does_not_end_it() -> None:
    registry, listener = Registry(resolved("broken")), Listener()
    async with following(registry, listener) as follower:
        await until(lambda: len(listener.told) == 2)
        assert listener.told[1] == ("asking the registry failed", ZeroDivisionError)
        registry.points_at = resolved("2")
        follower.ask_now()
        await until(lambda: listener.told[-1] == "2")


async def test_it_ends_also_in_the_moment_in_which_it_is_told_to_ask() -> None:
    registry, listener = Registry(resolved("1")), Listener()
    follower = RegistryFollower(parse_model_uri("models:/topic@production"), registry, None, listener, quiet())
    task = asyncio.create_task(follower.run())
    await until(lambda: follower.contact.asked)
    await asyncio.sleep(0)
    follower.ask_now()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=30)
    task.cancel()
    assert done == {task}


async def test_it_ends_though_it_was_told_to_ask_at_the_moment_of_its_end() -> None:
    registry, listener = Registry(resolved("1")), Listener()
    follower = RegistryFollower(parse_model_uri("models:/topic@production"), registry, 3600.0, listener, quiet())
    task = asyncio.create_task(follower.run())
    await until(lambda: follower.contact.asked)
    follower.ask_now()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.cancelled()
