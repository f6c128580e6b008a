"""One configuration after another, with models whose processes are plain objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.config.load import parse
from headrace.config.tree import Config, Model
from headrace.supervisor.fleet import Fleet
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.policy import AliasPolicy
from headrace.supervisor.served_model import ServedModel
from tests.unit.supervisor.rollout.fakes import World, quiet, resolved, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Maker:
    """Makes models in one world; `breaks` says why those made from now on do not come up."""

    def __init__(self, home: Path, publish: Any) -> None:
        self.world = World(resolved("1"))
        self.world.traffic.publish = publish  # type: ignore[method-assign]
        self._home = home

    def make(
        self,
        name: str,
        model: Model,
        config: Config,  # noqa: ARG002
        *,
        follows: bool = True,  # noqa: ARG002
        lenient: bool = False,
        policy: AliasPolicy | None = None,
    ) -> ServedModel:
        return ServedModel(
            name, model, replace(self.world.dependencies, environ=model.env), History(self._home, "r", model.uri, name),
            "mlflow", quiet(), canary_poll_s=3600.0, lenient=lenient, policy=policy,
        )  # fmt: skip

    def become(self, config: Config) -> None:
        """Its environments are the world's."""

    def configure(self, served: ServedModel, model: Model, config: Config, *, follows: bool = True) -> None:  # noqa: ARG002
        served.configure(model, self.world.dependencies, "mlflow", failing="warn", canary_poll_s=3600.0)


def configuration(**models: dict[str, Any]) -> Config:
    named = {name: {"uri": "models:/topic@production", "rollout": {"bake_s": 0}, **m} for name, m in models.items()}
    return parse({"gateway": {"port": 5000}, "models": named})


class Case:
    def __init__(self, home: Path) -> None:
        self.fleet = Fleet(self.publish, quiet())
        self.maker = Maker(home, self.publish)

    def publish(self) -> None:
        self.fleet.settle()

    def become(self, **models: dict[str, Any]) -> None:
        self.fleet.become(configuration(**models))
        self.publish()

    @property
    def environs(self) -> list[dict[str, str]]:
        """The variables of the processes that run."""
        return [dict(one.spec.environ) for one in self.maker.world.made if one.running]


@asynccontextmanager
async def running(home: Path, **models: dict[str, Any]) -> AsyncIterator[Case]:
    case = Case(home)
    case.fleet.begin(case.maker, configuration(**models))  # type: ignore[arg-type] # as much of one as is needed
    task = asyncio.create_task(case.fleet.run())
    try:
        await until(lambda: all(model.current for model in case.fleet.models.values()))
        yield case
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_model_whose_processes_fit_goes_on_with_them(tmp_path: Path) -> None:
    async with running(tmp_path, a={}) as case:
        model = case.fleet.models["a"]
        case.become(a={"timeout_s": 3})
        assert case.fleet.models["a"] is model
        assert (model.route().timeout_s, len(case.maker.world.made)) == (3, 1)


async def test_a_successor_takes_over_at_full_strength_and_then_the_former_ends(tmp_path: Path) -> None:
    async with running(tmp_path, a={"replicas": 2}) as case:
        former = case.fleet.models["a"]
        case.maker.world.loading = {"topic/1"}  # what is made from now on only loads
        case.become(a={"replicas": 2, "env": {"A": "b"}})
        await until(lambda: len(case.environs) == 2)
        assert case.fleet.models["a"] is former
        assert case.fleet.describe()["pending"].keys() == {"a"}
        successor = case.maker.world.made[-1]
        successor._loads = True
        successor.load("", None, verified=True)  # type: ignore[arg-type] # where and in what is nobody's business here
        await until(lambda: case.fleet.describe() == {"pending": {}, "failed": {}, "settled": True})
        assert case.fleet.models["a"] is not former
        assert case.environs == [{"A": "b"}]
        assert former.pools() == []
        assert case.maker.world.traffic.drained_pools


async def test_what_cannot_come_up_leaves_what_serves_and_is_given_up_when_it_is_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path, a={}) as case:
        former = case.fleet.models["a"]
        case.maker.world.breaking = {"topic/1": "it breaks"}
        case.become(a={"env": {"A": "b"}})
        await until(lambda: "it breaks" in case.fleet.describe()["pending"]["a"])
        assert case.fleet.models["a"] is former
        assert former.ready
        case.become(a={})
        await until(lambda: case.fleet.describe() == {"pending": {}, "failed": {}, "settled": True})
        assert case.fleet.models["a"] is former
        assert case.environs == [{}]


async def test_of_two_changes_in_a_row_the_second_comes(tmp_path: Path) -> None:
    async with running(tmp_path, a={}) as case:
        case.maker.world.loading = {"topic/1"}
        case.become(a={"env": {"A": "first"}})
        await until(lambda: {"A": "first"} in case.environs)
        case.maker.world.loading = set()
        case.become(a={"env": {"A": "second"}})
        await until(lambda: case.fleet.describe()["settled"])
        assert case.environs == [{"A": "second"}]


async def test_models_come_and_go(tmp_path: Path) -> None:
    async with running(tmp_path, a={}) as case:
        case.become(a={}, b={})
        await until(lambda: case.fleet.models["b"].ready)
        assert len(list(case.fleet.everything())) == 2
        case.become(b={})
        assert case.fleet.models.keys() == {"b"}
        await until(lambda: case.fleet.describe()["settled"])
        assert len(case.environs) == 1


async def test_what_an_operator_has_scaled_stays_with_new_processes_unless_the_file_says_otherwise(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, a={}) as case:
        case.fleet.models["a"].scale(3)
        case.become(a={"env": {"A": "b"}})
        await until(lambda: case.fleet.describe()["settled"])
        assert case.fleet.models["a"].replicas == 3
        case.become(a={"env": {"A": "c"}, "replicas": 2})
        await until(lambda: case.fleet.describe()["settled"])
        assert case.fleet.models["a"].replicas == 2
