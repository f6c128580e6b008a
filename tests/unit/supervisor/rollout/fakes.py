"""What a rollout depends on, as plain objects: no process is started, and no registry is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from headrace.core.environments.mismatch import Report
from headrace.core.identity import Resolved
from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.protocol.messages import Probed, WorkerRef
from headrace.core.protocol.raised import Raised
from headrace.core.telemetry.recent import Figures
from headrace.core.telemetry.totals import Sample
from headrace.environments.preparing import Prepared
from headrace.registry.messages import Stored
from headrace.supervisor.processes.compiled_states import CompiledStates
from headrace.supervisor.processes.worker_process import EndReason, WorkerSpec
from headrace.supervisor.rollout.dependencies import Dependencies
from headrace.supervisor.rollout.turns import Turns
from headrace.telemetry.logs import Log


def resolved(version: str, name: str = "topic") -> Resolved:
    return Resolved(uri=f"models:/{name}@production", name=name, version=version, source=f"somewhere/{version}")


def quiet() -> Log:
    log: Log = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[lambda *_: ((), {})])
    return log


class Registry:
    """Answers what `points_at` says, or `aliases` for an alias of its own: a version, or an error to raise."""

    def __init__(self, points_at: Resolved | Exception) -> None:
        self.points_at = points_at
        self.aliases: dict[str, Resolved | Exception] = {}
        self.path = "/nowhere"
        self.asked = 0

    async def resolve(self, uri: str, *, patient: bool = False) -> Resolved:  # noqa: ARG002
        self.asked += 1
        await asyncio.sleep(0)
        found = self.aliases.get(uri.rpartition("@")[2], self.points_at)
        if isinstance(found, Exception):
            raise found
        return found

    async def promote(self, name: str, alias: str, version: str) -> str | None:
        former = self.points_at
        self.points_at = Resolved(
            uri=f"models:/{name}@{alias}", name=name, version=version, source=f"somewhere/{version}"
        )
        return former.version if isinstance(former, Resolved) else None

    async def fetch(self, resolved: Resolved) -> Stored:
        return Stored(digest=f"digest-{resolved.version}", path=self.path, size_bytes=1)


class Store:
    """`cached` is what is on this machine, `pointed` what the registry said last."""

    def __init__(self, pointed: Resolved | None = None) -> None:
        self.pointed = pointed
        self.cached: dict[Resolved, Stored] = {}

    def last(self, uri: str) -> Resolved | None:  # noqa: ARG002
        return self.pointed

    def find(self, resolved: Resolved) -> Stored | None:
        return self.cached.get(resolved)

    def is_whole(self, stored: Stored) -> bool:  # noqa: ARG002
        return True


class Environments:
    """Each model runs where headrace does. `held` are those that were prepared and not released."""

    def __init__(self) -> None:
        self.held: list[Prepared] = []
        self.report = Report((), "")

    async def prepare(self, model: Path, kind: Any, mismatch: Any, log: Log) -> Prepared:  # noqa: ARG002
        prepared = Prepared(policy="local", python="python", report=self.report)
        self.held.append(prepared)
        return prepared

    def release(self, prepared: Prepared) -> None:
        self.held.remove(prepared)


class Traffic:
    """`failing` is the version whose requests fail: a hundred more each time that the counters are read."""

    def __init__(self) -> None:
        self.published = 0
        self.failing = ""
        self._failed = 0.0
        self.drained_pools: list[str] = []

    def publish(self) -> None:
        self.published += 1

    async def drained(self, pool: str) -> None:
        self.drained_pools.append(pool)

    async def samples(self) -> list[Sample]:
        self._failed += 100.0
        labels = (("model", "topic"), ("version", self.failing), ("route", "invocations"), ("status", "500"))
        return [("headrace_requests_total", labels, self._failed)]

    async def past(self, model: str, version: str) -> Figures:  # noqa: ARG002
        return Figures()

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        raise NotImplementedError


class Processes:
    """Is up as soon as it is loaded, unless `breaks` says why it never is, or it `loads` for ever (False)."""

    def __init__(
        self,
        spec: WorkerSpec,
        on_change: Callable[[], None],
        breaks: str | None,
        facts: dict[str, Any] | None = None,
        *,
        loads: bool = True,
    ) -> None:
        self.spec = spec
        self.facts: dict[str, Any] = facts or {}
        self.pids: list[int] = []
        self.warm_up: dict[str, Any] = {"ok": True}
        self.raised: tuple[Raised, ...] = ()
        self.failure: str | None = None
        self.failure_detail = ""
        self.trouble = ""
        self.proven = False
        self.compiled = CompiledStates(structlog.get_logger())
        self.load_s: float | None = None
        self.restarts = Restarts(RestartPolicy())
        self.running = False
        self._ready: tuple[WorkerRef, ...] = ()
        self._on_change = on_change
        self._breaks = breaks
        self._loads = loads
        self._over = asyncio.Event()

    @property
    def ready(self) -> tuple[WorkerRef, ...]:
        return self._ready

    @property
    def zygote(self) -> dict[str, Any] | None:
        return None

    @property
    def processes(self) -> list[dict[str, Any]]:
        return [{"role": "replica", "pid": pid, "state": "ready", "index": i} for i, pid in enumerate(self.pids)]

    def load(self, path: str, prepared: Prepared, *, verified: bool) -> None:  # noqa: ARG002
        if self._breaks is not None:
            self.failure = self._breaks
            self._over.set()
            return
        if not self._loads:
            return
        self.load_s = 0.1
        self._ready = tuple(WorkerRef(f"w{index}", "/nowhere.sock") for index in range(self.spec.replicas))
        self._on_change()

    def scale(self, replicas: int) -> None:
        self.spec = replace(self.spec, replicas=replicas)
        self._ready = tuple(WorkerRef(f"w{index}", "/nowhere.sock") for index in range(replicas))
        self._on_change()

    def end(self) -> None:
        """All of them end at once."""
        self._ready = ()
        self._over.set()

    async def run(self) -> None:
        self.running = True
        try:
            await self._over.wait()
        finally:
            self.running = False
            self._ready = ()

    def kill(self, replica_id: str, why: str, end: EndReason) -> None:
        """Its replacement is up at once."""

    def cut_off(self, replica_id: str) -> None:
        raise NotImplementedError


def spec(label: str, replicas: int = 1) -> WorkerSpec:
    return WorkerSpec(
        key=f"{label}#1", model="topic", label=label, replicas=replicas, environ={}, kept_back=frozenset(), options={},
        share_imports=False,
        timeout_s=60.0, hung_after_s=None,
    )  # fmt: skip


class World:
    """All of it for one alias. `breaking` are versions that do not come up, and why; `loading` those that only load.

    `signatures` are those of versions without an example of their own.
    """

    def __init__(self, points_at: Resolved | Exception, *, poll_s: float | None = 3600.0) -> None:
        self.registry = Registry(points_at)
        self.store = Store()
        self.environments = Environments()
        self.traffic = Traffic()
        self.breaking: dict[str, str] = {}
        self.loading: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.signatures: dict[str, dict[str, str]] = {}
        self.made: list[Processes] = []
        self.dependencies = Dependencies(
            registry=self.registry,
            store=self.store,
            environments=self.environments,
            make_processes=self._make,
            traffic=self.traffic,
            turns=Turns(1, None),
            environ={},
            kept_back=frozenset(),
            options={},
            share_imports=False,
            poll_s=poll_s,
            hung_after_s=None,
        )

    def _make(
        self,
        spec: WorkerSpec,
        log: Log,  # noqa: ARG002
        on_change: Callable[[], None],
        ended: dict[EndReason, int],  # noqa: ARG002
        again: Callable[[], Awaitable[str]],  # noqa: ARG002
    ) -> Processes:
        loads = spec.label not in self.loading
        made = Processes(spec, on_change, self.breaking.get(spec.label), self.facts, loads=loads)
        if spec.label in self.signatures:  # and no example: there is nobody behind the socket to answer one made up
            made.facts, made.warm_up = {"signature": self.signatures[spec.label]}, {"ok": None}
        self.made.append(made)
        return made

    @property
    def running(self) -> list[str]:
        """The labels of the versions whose processes run."""
        return [one.spec.label for one in self.made if one.running]


async def until(condition: Callable[[], object]) -> None:
    """Let everything else go on until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.001)
