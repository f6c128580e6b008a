"""The zygotes: for each environment, with the variables that its models get, one process that hosts are forked from.

A zygote is started when the first host is wanted, imports what loads of models like that one have imported, and is
forked: the first host waits no longer than it would import by itself, each further one hardly waits, and all share the
memory of what was imported. Where a zygote fails, the model gets a process of its own: a failure costs time only.

Models whose variables differ in anything do not share a zygote: a library may read any variable when it is imported,
and nothing of one model's is to be seen by another.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes.children import Child
from headrace.supervisor.processes.learned import Learned, Record, family, stamp
from headrace.supervisor.processes.worker_control import ControlRoom
from headrace.supervisor.processes.zygote_process import LeftOut, Zygote, ZygoteLost
from headrace.telemetry.logs import Log

FIRST = ("mlflow.pyfunc",)
"""What every load imports, before anything is known of it."""

_MOST_LEFT_OUT = 8
_ITSELF = "the model's process imports everything itself"


class _Key(NamedTuple):
    python: str
    environ: tuple[tuple[str, str], ...]


@dataclass
class _Nest:
    """The place of one zygote, and after it the next. `users` are the versions that may want a host of it.

    `off`: why there is none any more; empty: there may be one.
    """

    label: str
    users: int = 0
    off: str = ""
    zygote: Zygote | None = None
    failed: int = 0
    not_before_s: float = 0.0
    restarts: Restarts = field(default_factory=lambda: Restarts(RestartPolicy(first_s=0.5, healthy_s=60.0)))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Zygotes:
    """All zygotes, one for each environment. `first` is imported before it is known what models import."""

    def __init__(self, room: ControlRoom, learned: Learned, log: Log, first: tuple[str, ...] = FIRST) -> None:
        self._room = room
        self._learned = learned
        self._log = log.bind(role="zygote")
        self._first = first
        self._nests: dict[_Key, _Nest] = {}
        self._records: dict[str | None, Record] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self, prepared: Prepared, environ: Mapping[str, str]) -> None:
        """A version may want hosts from now on, until it `leave`s."""
        self._nest(prepared, environ).users += 1

    def leave(self, prepared: Prepared, environ: Mapping[str, str]) -> None:
        """A version that has entered wants no more hosts; when the last one leaves, the zygote ends."""
        key = _key(prepared, environ)
        nest = self._nests[key]
        nest.users -= 1
        if not nest.users:
            del self._nests[key]
            self._end(nest, "no model is in its environment any more")

    async def fork(
        self, prepared: Prepared, environ: Mapping[str, str], path: str, label: str, token: str, log: Log
    ) -> Child | None:
        """A host for the model in `path`; None: it is to be started as a process of its own."""
        nest = self._nest(prepared, environ)
        if sys.platform != "linux" or nest.off:  # elsewhere orphans are not given to us
            return None
        async with nest.turn:
            try:
                zygote = await self._ready(nest, prepared, environ, path)
                child = await zygote.fork(label, token, log) if zygote is not None else None
            except ZygoteLost as error:
                self._log.warning("zygote lost", zygote=nest.label, reason=str(error), then=_ITSELF)
                nest.failed += 1
                return None
            except OSError as error:
                self._log.warning("zygote not forked", zygote=nest.label, reason=str(error), then=_ITSELF)
                self._end(nest, "it could not be forked")
                return None
            if zygote is not None and zygote.has_grown:
                self._end(nest, "it has grown")
            return child

    async def learn(self, prepared: Prepared, path: str, imported: tuple[str, ...]) -> None:
        """A load in this environment has imported that: the zygotes there import it before the next one."""
        try:
            record = await self._record(prepared)
        except OSError:
            return
        if record.add(await asyncio.to_thread(family, path), imported):
            await asyncio.to_thread(self._learned.keep, prepared, record)

    def describe(self, prepared: Prepared, environ: Mapping[str, str]) -> dict[str, Any]:
        """The zygote of an environment as data, for the status."""
        nest, record = self._nests.get(_key(prepared, environ)), self._records.get(prepared.digest)
        zygote = nest.zygote if nest is not None else None
        return {
            "pid": zygote.child.pid if zygote is not None and zygote.child.running else None,
            "modules": zygote.modules if zygote is not None else 0,
            "forks": zygote.forks if zygote is not None else 0,
            "left_out": record.left_out if record is not None else {},
            "off": (nest.off if nest is not None else "") or None,
        }

    @property
    def pids(self) -> list[int]:
        """The process ids of the zygotes that run."""
        return [n.zygote.child.pid for n in self._nests.values() if n.zygote is not None and n.zygote.child.running]

    async def close(self) -> None:
        """End all of them; what was forked from them goes on."""
        for nest in self._nests.values():
            self._end(nest, "headrace stops")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _nest(self, prepared: Prepared, environ: Mapping[str, str]) -> _Nest:
        return self._nests.setdefault(_key(prepared, environ), _Nest((prepared.digest or "running")[:12]))

    async def _record(self, prepared: Prepared) -> Record:
        """What is known of an environment as it is now. Raises OSError where nothing is, and it cannot be seen."""
        known = self._records.get(prepared.digest)
        try:
            if known is None or known.stamp != await asyncio.to_thread(stamp, prepared):
                known = self._records[prepared.digest] = await asyncio.to_thread(self._learned.read, prepared)
        except OSError:
            if known is None:
                raise
        return known

    async def _ready(self, nest: _Nest, prepared: Prepared, environ: Mapping[str, str], path: str) -> Zygote | None:
        """A zygote that has imported what it should; None where there is none now. Raises ZygoteLost."""
        record = await self._record(prepared)
        wanted = [*self._first, *record.families.get(await asyncio.to_thread(family, path), ())]
        while len(record.left_out) <= _MOST_LEFT_OUT:
            if nest.zygote is not None and nest.zygote.stamp != record.stamp:
                self._end(nest, "its environment has changed")
            zygote = nest.zygote = nest.zygote or await self._start(nest, prepared, environ, record.stamp)
            if zygote is None:
                return None
            try:
                await zygote.bring(name for name in wanted if not _within(name, record.left_out))
            except LeftOut as error:
                self._log.info("module not shared", zygote=nest.label, module=error.name, reason=error.reason)
                record.left_out[error.name] = error.reason
                self._end(nest, "a module has spoiled it")
                await asyncio.to_thread(self._learned.keep, prepared, record)
                continue
            nest.failed = 0
            return zygote
        nest.off = f"{len(record.left_out)} modules cannot be imported ahead: {', '.join(record.left_out)}"
        return None

    async def _start(self, nest: _Nest, prepared: Prepared, environ: Mapping[str, str], found: str) -> Zygote | None:
        if nest.failed > 1:
            nest.off = "it has ended twice while it was asked for something"
        if nest.off or time.monotonic() < nest.not_before_s:
            return None
        try:
            zygote = await Zygote.start(
                prepared.python, self._room, prepared.environ(environ), nest.label, found, self._log
            )
        except OSError as error:
            self._log.warning("zygote not started", zygote=nest.label, reason=str(error))
            return None
        self._hold(self._watch(nest, zygote))
        return zygote

    async def _watch(self, nest: _Nest, zygote: Zygote) -> None:
        await zygote.child.wait()
        zygote.hang_up()
        if nest.zygote is zygote:  # nobody has ended it
            nest.zygote = None
            wait_s = nest.restarts.died(time.monotonic() - zygote.child.started_s, random.random()) or 0.0  # noqa: S311
            nest.not_before_s = time.monotonic() + (wait_s if nest.restarts.deaths > 1 else 0.0)
            self._log.warning(
                "zygote ended", zygote=nest.label, exit=zygote.child.describe(), kept="what was forked from it"
            )
        async with nest.turn:
            zygote.close()

    def _end(self, nest: _Nest, why: str) -> None:
        """What was forked from it goes on; the next host has another one started."""
        zygote, nest.zygote = nest.zygote, None
        if zygote is not None:
            zygote.child.kill(why)
            self._log.debug("zygote ends", zygote=nest.label, reason=why)

    def _hold(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(prepared: Prepared, environ: Mapping[str, str]) -> _Key:
    return _Key(prepared.python, tuple(sorted(prepared.environ(environ).items())))


def _within(name: str, packages: Mapping[str, str]) -> bool:
    """Whether a module is one of these, or below one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)
