"""Which registered models are served by which name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st

from headrace.config import tree
from headrace.core.errors import RegistryError
from headrace.core.identity import safe_name
from headrace.registry.messages import Listed
from headrace.registry.store import Store
from headrace.supervisor.rollout.history import History
from headrace.supervisor.running import RunningModels
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.wildcard import Wildcard, by_served_name
from tests.unit.supervisor.rollout.fakes import World, quiet, until


def test_of_two_names_that_fold_into_one_the_exact_one_is_served() -> None:
    wanted, left_out = by_served_name(["$(id)", "id", "mood"], frozenset())
    assert wanted == {"id": "id", "mood": "mood"}
    assert left_out.keys() == {"$(id)"}
    assert "'id' is that of another registered model" in left_out["$(id)"]


def test_where_none_is_exact_none_is_served_and_each_is_told_of_the_others() -> None:
    wanted, left_out = by_served_name(["$(id)", "[id]", "mood"], frozenset())
    assert wanted == {"mood": "mood"}
    assert "'[id]' would be served by the name 'id'" in left_out["$(id)"]
    assert "'$(id)' would be served by the name 'id'" in left_out["[id]"]


def test_what_the_configuration_names_is_left_to_it() -> None:
    wanted, left_out = by_served_name(["$(id)", "id", "a b"], {"id"})
    assert wanted == {"a b": "a-b"}
    assert left_out.keys() == {"$(id)", "id"}


names = st.lists(st.text("ab$ -", min_size=1, max_size=4), unique=True)


@given(names, st.randoms(use_true_random=False))
def test_it_is_the_same_in_any_order_and_nothing_is_lost(registered: list[str], random: st.DataObject) -> None:
    shuffled = sorted(registered, key=lambda _: random.random())  # type: ignore[attr-defined] # a Random
    wanted, left_out = by_served_name(registered, frozenset())
    assert (wanted, left_out) == by_served_name(shuffled, frozenset())
    assert {*wanted} | {*left_out} == {*registered}
    assert not {*wanted} & {*left_out}
    assert len({*wanted.values()}) == len(wanted)
    for one, name in wanted.items():
        assert name == safe_name(one)
        assert one == name or [other for other in registered if safe_name(other) == name] == [one]


class Lister:
    """A registry that lists what it is told to."""

    def __init__(self, listed: Listed) -> None:
        self.listed = listed

    async def list_models(self, alias: str, at_most: int) -> Listed:
        assert (alias, at_most) == ("live", 2)
        return self.listed


@asynccontextmanager
async def running(wildcard: Wildcard, runs: RunningModels) -> AsyncIterator[None]:
    """A wildcard that has looked, and runs what it has added."""

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            runs.open(tasks)
            await wildcard.run()

    task = asyncio.create_task(run())
    try:
        await until(lambda: wildcard.listed)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def follow(listed: Listed, home: Path) -> tuple[dict[str, Any], list[Any]]:
    """What a wildcard says of a list, as data and in the log, beside a model "own" of the configuration's."""
    config = tree.Wildcard(uri="models:/*@live", at_most=2)
    world = World(RegistryError("nobody is asked"))
    models: dict[str, ServedModel] = {}

    def make(name: str, model: tree.Model) -> ServedModel:
        history = History(home, "registry", model.uri, name)
        return ServedModel(
            name, model, world.dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0, lenient=True
        )

    models["own"] = make("own", tree.Model(uri="models:/own/1"))

    async def run() -> dict[str, Any]:
        store = Store(home, "registry")
        runs, log = RunningModels(lambda: None), structlog.get_logger()
        one = Wildcard(config, Lister(listed), store, 3600.0, models, make, runs, lambda: None, log)
        async with running(one, runs):
            return one.describe()

    with structlog.testing.capture_logs() as events:
        told = asyncio.run(run())
    return told, [event for event in events if event["event"] == "models left out"]


def test_what_at_most_leaves_out_is_named_counted_and_warned_of(tmp_path: Path) -> None:
    told, events = follow(Listed(versions={"a": "1", "b": "1"}, beyond=("c", "d")), tmp_path)
    assert (told["models"], told["at_most"], told["more"]) == (["a", "b"], 2, False)
    assert told["left_out"].keys() == {"c", "d"}
    assert "at_most: 2" in told["left_out"]["c"]
    ((level, count, models),) = [(e["log_level"], e["count"], e["models"]) for e in events]
    assert (level, count, [*models]) == ("warning", 2, ["c, d"])


def test_what_the_configuration_names_is_no_reason_to_warn(tmp_path: Path) -> None:
    told, events = follow(Listed(versions={"a": "1", "b": "1"}, beyond=("own",)), tmp_path)
    assert told["left_out"] == {}
    told, events = follow(Listed(versions={"a": "1", "own": "1"}), tmp_path)
    assert told["left_out"].keys() == {"own"}
    assert [event["log_level"] for event in events] == ["info"]


def test_other_settings_hold_for_what_it_has_added_and_what_is_given_away_is_left_alone(tmp_path: Path) -> None:
    world = World(RegistryError("nobody is asked"))
    models: dict[str, ServedModel] = {}

    def make(name: str, model: tree.Model) -> ServedModel:
        history = History(tmp_path, "registry", model.uri, name)
        return ServedModel(
            name, model, world.dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0, lenient=True
        )

    async def run() -> None:
        config = tree.Wildcard(uri="models:/*@live", at_most=2)
        listed = Lister(Listed(versions={"a": "1", "b": "1"}))
        runs = RunningModels(lambda: None)
        one = Wildcard(config, listed, Store(tmp_path, "r"), 3600.0, models, make, runs, lambda: None, quiet())
        async with running(one, runs):
            given = models["a"]
            one.release("a")
            one.release("a")
            settings = one.configure(tree.Wildcard(uri="models:/*@live", at_most=2, replicas=3), ["a"], 3600.0)
            told = {name: (model.uri, model.replicas) for name, model in settings.items()}
            assert told == {"b": ("models:/b@live", 3)}
            await until(lambda: one.describe()["left_out"].keys() == {"a"})
            assert models["a"] is given
            assert not given.leaving

    asyncio.run(run())


def test_what_has_lost_its_alias_is_drained_and_then_gone(tmp_path: Path) -> None:
    world = World(RegistryError("nobody is asked"))
    models: dict[str, ServedModel] = {}

    def make(name: str, model: tree.Model) -> ServedModel:
        history = History(tmp_path, "registry", model.uri, name)
        return ServedModel(
            name, model, world.dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0, lenient=True
        )

    async def run() -> None:
        lister = Lister(Listed(versions={"a": "1", "b": "1"}))
        runs, config = RunningModels(lambda: None), tree.Wildcard(uri="models:/*@live", at_most=2)
        one = Wildcard(config, lister, Store(tmp_path, "r"), 3600.0, models, make, runs, lambda: None, quiet())
        async with running(one, runs):
            ended = models["a"]
            lister.listed = Listed(versions={"b": "1"})
            one.refresh()
            await until(lambda: models.keys() == {"b"})
            assert ended.leaving
            lister.listed = Listed(versions={"a": "2", "b": "1"})
            one.refresh()
            await until(lambda: models.keys() == {"a", "b"})
            assert models["a"] is not ended

    asyncio.run(run())
