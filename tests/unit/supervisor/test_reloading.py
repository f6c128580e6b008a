"""A file that is read again, beside what runs; what runs is a plain object."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.config.changes import Plan
from headrace.config.load import load_file, parse
from headrace.config.tree import Config
from headrace.core.errors import HeadraceError
from headrace.supervisor.reloading import NotReloaded, Reloads, Source
from headrace.telemetry.logs import make_log

pytestmark = pytest.mark.anyio

MODELS = {"a": {"uri": "models:/a@production", "port": 5001}, "b": {"uri": "models:/b@production", "port": 5002}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Runs:
    """What runs: it becomes what it is told to, unless it `cannot`."""

    def __init__(self) -> None:
        self.config: Config = parse({"models": MODELS})
        self.cannot = ""
        self.noted: dict[str, str] = {}
        self.at_once = 0
        self.most_at_once = 0

    async def become(self, config: Config, made: Plan) -> None:
        assert made.changes
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.cannot:
            raise HeadraceError(self.cannot)
        self.config = config

    def note(self, name: str, reason: str) -> None:
        self.noted[name] = reason


class Case:
    def __init__(self, directory: Path) -> None:
        self.file = directory / "headrace.yaml"
        self.runs = Runs()
        self.log = io.StringIO()
        self.reloads = Reloads(
            Source(self.file, lambda: load_file(self.file, {})), self.runs, make_log("json", "info", self.log)
        )
        self.reloads.remember(directory, "r", None)
        self.write({})

    def write(self, changed: dict[str, Any], **more: Any) -> None:
        self.file.write_text(json.dumps({"models": {**MODELS, "a": {**MODELS["a"], **changed}}, **more}))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


async def test_what_has_changed_is_done_told_and_noted(case: Case) -> None:
    assert (await case.reloads.reload("me"))["changes"] == []
    case.write({"replicas": 3, "env": {"KEY": "secret"}})
    told = (await case.reloads.compare())["changes"]
    assert case.runs.config.models["a"].replicas == 1
    assert (await case.reloads.reload("me"))["changes"] == told
    assert case.runs.config.models["a"].replicas == 3
    assert [one["setting"] for one in told] == ["models.a.replicas", "models.a.env"]
    assert case.runs.noted == {"a": "models.a.replicas: 1 -> 3; models.a.env: {} -> {'KEY': '(hidden)'}; by me"}
    assert case.reloads.past()[-1]["reason"] == case.runs.noted["a"]
    assert "secret" not in case.log.getvalue()
    assert '"by": "me"' in case.log.getvalue()


async def test_a_mistake_changes_nothing_and_is_a_problem_until_a_good_file_comes(case: Case) -> None:
    case.write({"replicas": 0})
    with pytest.raises(HeadraceError, match=r"headrace.yaml:1: models.a.replicas"):
        await case.reloads.reload("me")
    assert "models.a.replicas" in case.reloads.problem
    assert "models.a.replicas" in (await case.reloads.compare())["problem"]
    assert case.reloads.past()[-1]["event"] == "refused"
    case.write({})
    assert (await case.reloads.reload("me"))["changes"] == []
    assert case.reloads.problem == ""


async def test_what_cannot_change_is_refused_as_a_whole(case: Case) -> None:
    case.write({"replicas": 2}, home="elsewhere")
    compared = await case.reloads.compare()
    assert [one["how"] for one in compared["changes"]] == ["restart", "live"]
    assert compared["problem"].startswith("home: cannot change while headrace runs")
    with pytest.raises(NotReloaded):
        await case.reloads.reload("me")
    assert case.runs.config.models["a"].replicas == 1


async def test_what_cannot_be_done_leaves_what_runs_and_is_told(case: Case) -> None:
    case.write({"replicas": 2})
    case.runs.cannot = "port 5001 is in use"
    with pytest.raises(HeadraceError, match="in use"):
        await case.reloads.reload("me")
    assert case.reloads.problem == "port 5001 is in use"
    assert case.reloads.describe()["last"]["ok"] is False
    case.runs.cannot = ""
    assert len((await case.reloads.reload("me"))["changes"]) == 1


async def test_two_come_one_after_another_and_the_second_reads_what_is_there_then(case: Case) -> None:
    case.write({"replicas": 2})
    answers = await asyncio.gather(*(case.reloads.reload(who) for who in ("me", "you")))
    assert [len(answer["changes"]) for answer in answers] == [1, 0]
    assert case.runs.most_at_once == 1


async def test_without_a_file_there_is_nothing_to_do() -> None:
    reloads = Reloads(None, Runs(), make_log(stream=io.StringIO()))
    for asked in (reloads.compare(), reloads.reload("me")):
        with pytest.raises(NotReloaded, match="without a file"):
            await asked
