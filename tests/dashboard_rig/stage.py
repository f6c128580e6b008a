"""A supervisor whose models are in every state that a dashboard shows, without a process behind them.

The views, the rollouts, the counters and the admin port are the real ones; registry, workers and gateways are those of
`tests.unit.supervisor.rollout.fakes`.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from headrace.config.load import parse
from headrace.config.tree import Model
from headrace.core.environments.mismatch import Finding, Report
from headrace.core.protocol.messages import Failure
from headrace.core.telemetry.counts import read_counts
from headrace.core.telemetry.totals import Sample
from headrace.gateway.counters import PoolCounters
from headrace.supervisor.admin.server import make_app
from headrace.supervisor.app import Supervisor
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.rollout.history import History
from headrace.supervisor.served_model import ServedModel
from headrace.telemetry.logs import make_log
from headrace_worker.wire import Timing
from tests.unit.supervisor.rollout.fakes import World, quiet, resolved, until

SIGNATURE = {
    "inputs": json.dumps(
        [
            {"name": "text", "type": "string", "required": True},
            {"name": "age", "type": "long", "required": True},
            {"name": "income", "type": "double", "required": False},
            {"name": "member", "type": "boolean", "required": False},
            {"name": "since", "type": "datetime", "required": False},
            {"name": "tags", "type": "array", "items": {"type": "string"}, "required": False},
        ]
    ),
    "outputs": None,
    "params": json.dumps(
        [
            {"name": "temperature", "type": "double", "default": 0.2, "shape": None},
            {"name": "stop", "type": "string", "default": ["."], "shape": [-1]},
        ]
    ),
}
TRACEBACK = """Traceback (most recent call last):
  File "model.py", line 12, in predict
    return 1 / 0
ZeroDivisionError: division by zero
"""
FINDINGS = (
    Finding("python", "3.11.9", "3.11.9", "ok"),
    Finding("scikit-learn", "==1.5.2", "1.5.2", "ok"),
    Finding("pandas", "==2.2.3", "2.2.2", "other patch"),
    Finding("numpy", "==1.26.4", "2.1.0", "differs"),
    Finding("a-package-with-a-name-that-is-longer-than-most", ">=1.2,<2", None, "missing"),
)


class Stage(Supervisor):
    """`counters` are what the gateways would have counted, by model and version."""

    def __init__(self, home: Path) -> None:
        config = parse({"admin": {"port": 0}, "models": {"none": {"uri": "models:/none/1", "port": 0}}})
        log = make_log(stream=io.StringIO())
        super().__init__(config, log, {})
        self.home = home
        self.counters: dict[tuple[str, str], PoolCounters] = {}
        self.worlds: dict[str, World] = {}
        self.gateways = Gateways([], {}, log, hung_after_s=None, on_news=lambda _: None)
        self.agent = RegistryAgent({}, {}, log, 1.0, 1.0, None)
        self.shadow: dict[str, float] = {}
        self._ports: dict[str | None, int] = {}
        self._running: list[asyncio.Task[None]] = []

    def add(self, name: str, *, aliases: dict[str, Any] | None = None, **config: Any) -> World:
        """A model whose `production` is version 1; `config` is its section. Nothing comes up before `start`."""
        world = self.worlds[name] = World(resolved("1", name))
        world.registry.aliases |= aliases or {}
        world.facts = {"signature": SIGNATURE, "mlflow_version": "3.1.0"}
        uri = f"models:/{name}@production"
        section = msgspec.convert({"uri": uri, "rollout": {"bake_s": 0, "keep_old_s": 600}, **config}, Model)
        history = History(self.home, "registry", uri, name)
        self._ports[name] = len(self._ports) + 1
        self.models[name] = ServedModel(
            name, section, world.dependencies, history, "mlflow", quiet(), canary_poll_s=3600.0
        )
        return world

    def start(self, *names: str) -> None:
        """Have models come up."""
        self._running += [asyncio.create_task(self.models[name].run()) for name in names]

    async def point(self, name: str, version: str, condition: Callable[[ServedModel], object]) -> None:
        """Move a model's alias, and wait until `condition` holds."""
        model = self.models[name]
        self.worlds[name].registry.points_at = resolved(version, name)
        model.refresh()
        await until(lambda: condition(model))

    async def end(self) -> None:
        """End all that came up."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def count(
        self, model: str, label: str, requests: int, *, took_s: float = 0.01, failed: int = 0, rows: int = 1
    ) -> None:
        """So many requests more were answered."""
        counted = self.counters.setdefault((model, label), PoolCounters())
        counted.statuses[200] += requests - failed
        counted.statuses[500] += failed
        for share in range(min(requests, 40)):
            counted.latency.observe(took_s * (0.6 + 0.02 * share + (2.0 if share > 36 else 0.0)))
        counted.rows += rows * requests
        counted.batch(Timing(100, 1000, 100, 1), max(1, requests // 4), max(1, requests // 4) * rows)
        counted.batches += max(0, requests // 4 - 1)
        counted.cache_hits += requests // 3
        counted.cache_misses += requests - requests // 3

    def address(self, name: str | None, *, grpc: bool = False) -> tuple[str, int] | None:  # noqa: ARG002 - not here
        """A port for each model, where nobody listens."""
        return ("127.0.0.1", self._ports[name]) if name in self._ports else None

    async def samples(self) -> list[Sample]:
        """What is counted, as the gateways would say it."""
        counted = [sample for (model, label), one in self.counters.items() for sample in one.samples(model, label)]
        of = (("model", "shadow"), ("version", "shadow/2"))
        return counted + [("headrace_shadow_total", (*of, ("result", r)), n) for r, n in self.shadow.items()]

    async def pass_time(self, steps: int, of_step: Callable[[int], None] = lambda _: None) -> None:
        """Let the counters be read so many times, two seconds apart, the last time now; wakes who waits."""
        now_s = time.monotonic()
        for step in range(steps):
            of_step(step)
            self.sampler.recent.feed(await self.samples(), now_s - 2.0 * (steps - 1 - step))
        self.sampler.wake()


def up(model: ServedModel) -> bool:
    """Whether it serves."""
    return model.current is not None


def load_of(stage: Stage, *names: str, at_least: int = 0) -> Callable[[int], None]:
    """Traffic that swells and ebbs for what serves these models."""

    def of_step(step: int) -> None:
        for number, name in enumerate(names):
            model = stage.models[name]
            if model.current is not None:
                requests = at_least + int((12 + 9 * math.sin(step / 14 + number)) * (number % 5))
                stage.count(name, model.current.label, requests, took_s=0.004 * (1 + number % 7), rows=1 + number % 3)

    return of_step


async def every_state(stage: Stage) -> None:
    """One model for each state, under load."""
    away = "No module named 'torch' (in topic_model/predict.py, line 3); its requirements name torch==2.4.1"
    stage.add("churn", replicas=2, cache={})
    stage.add("sentiment")
    stage.add("newcomer").loading.add("newcomer/1")
    stage.add("updating", replicas=2).loading.add("updating/2")
    stage.add("update-failed").breaking["update-failed/2"] = away
    stage.add("failed").breaking["failed/1"] = away
    stage.add("failing")
    stage.add("canary", traffic={"production": 90, "next": 10}, aliases={"next": resolved("2", "canary")}).breaking[
        "canary/2"
    ] = away
    stage.add("shadow", shadow="next", aliases={"next": resolved("2", "shadow")})
    stage.worlds["churn"].environments.report = Report(FINDINGS, "")
    example = stage.home / "example"
    example.mkdir(exist_ok=True)
    records = [{"text": "a text", "age": 42, "income": 0.5}, {"text": "it's “quoted”", "age": 12345678901234567890}]
    (example / "serving_input_example.json").write_text(json.dumps({"dataframe_records": records}), encoding="utf-8")
    for name in ("churn", "shadow"):
        stage.worlds[name].registry.path = str(example)
    stage.start(*stage.models)
    await until(lambda: all(m.settled for n, m in stage.models.items() if n != "newcomer"))
    await until(lambda: stage.models["canary"].canaries["next"].status.problem)
    await until(lambda: stage.models["shadow"].canaries["next"].serving)
    await stage.point("churn", "2", lambda m: m.current is not None and m.current.label == "churn/2")
    await stage.point("updating", "2", lambda m: m.main.candidate)
    await stage.point("update-failed", "2", lambda m: m.main.status.problem)
    for world in stage.worlds.values():
        for made in world.made:
            made.pids = [os.getpid()]
    stage.shadow = {"equal": 1204.0, "different": 31.0, "error": 3.0, "dropped": 0.0}
    failing = stage.models["failing"]
    assert failing.current is not None
    for kind, count in (("ZeroDivisionError", 31), ("KeyError", 2)):
        failure = Failure(
            type=kind, where="model.py, line 12", text="said at some length, and of no use", status=500,
            traceback=TRACEBACK, count=count, error_code="INTERNAL_ERROR", request_ids=("6f1c0de2", "77aa01bc"),
        )  # fmt: skip
        failing.current.failures.add(failure, time.time() - 40)
    load = load_of(stage, "sentiment", "churn", "updating", "canary", "shadow", "update-failed")

    def of_step(step: int) -> None:
        load(step)
        stage.count("failing", "failing/1", 5, failed=4)

    await stage.pass_time(400, of_step)
    for _ in range(6):
        stage.count("failing", "failing/1", 10, failed=8)
        failing.answers.count(read_counts(await stage.samples()))


async def many(stage: Stage, number: int, *, failed_every: int = 25, steps: int = 4) -> None:
    """So many models of a few teams, most of them well, each with traffic."""
    teams = ("ads", "fraud", "nlp", "pricing", "search-ranking")
    names = [f"{teams[n % len(teams)]}-model-{n:03d}" for n in range(number)]
    for n, name in enumerate(names):
        world = stage.add(name)
        if n % failed_every == 7:
            world.breaking[f"{name}/1"] = (
                "No module named 'torch'; its requirements name torch==2.4.1, which is not here"
            )
        elif n % failed_every == 11:
            world.loading.add(f"{name}/1")
    stage.start(*names)
    await until(lambda: sum(m.settled for m in stage.models.values()) >= number - number // failed_every - 1)
    await stage.pass_time(steps, load_of(stage, *names, at_least=1))


@asynccontextmanager
async def served(stage: Stage) -> AsyncIterator[str]:
    """The admin port of a stage; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            make_app(stage), log_config=None, access_log=False, lifespan="off", http="h11", ws="none"
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stage.draining = True
            stage.sampler.wake()
            server.should_exit = True
            await running
            await stage.end()
