"""Starts the gateways, tells them what should be, and starts a new one when one dies: workers stay as they are."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from headrace.core import framing, inheriting
from headrace.core.messages import (
    Applied,
    AskStats,
    Configure,
    Crowded,
    Drain,
    Drained,
    FromGateway,
    News,
    Ping,
    Probe,
    Probed,
    Stats,
    Table,
    ToGateway,
)
from headrace.core.restart import RestartPolicy, Restarts
from headrace.core.totals import Sample, Totals
from headrace.supervisor.children import Child, describe_exit, start_controlled
from headrace.supervisor.pulse import Pulse
from headrace.telemetry.logs import Log

_GATEWAY_GRACE_S = 1.0
_CROWDED = {
    "connections": "gateway.max_connections",
    "client": "gateway.max_connections_per_client",
    "descriptors": "ulimit -n",
}
"""The limit that was met where connections are turned away."""


@dataclass
class _Slot:
    """One gateway's place: its sockets are ours and outlive it."""

    configure: Configure
    child: Child | None = None
    writer: asyncio.StreamWriter | None = None
    task: asyncio.Task[None] | None = None
    applied: int = -1
    told: set[str] = field(default_factory=set)
    stats: dict[int, asyncio.Future[Stats]] = field(default_factory=dict)
    probes: dict[int, asyncio.Future[Probed]] = field(default_factory=dict)
    pulse: Pulse = field(default_factory=Pulse)
    restarts: Restarts = field(default_factory=lambda: Restarts(RestartPolicy(first_s=0.1, healthy_s=10.0)))

    def say(self, message: ToGateway) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(framing.encode(message))


class Gateways:
    """All gateways as one: `publish` a table, wait until it is in force everywhere."""

    def __init__(
        self,
        configurations: list[Configure],
        environ: Mapping[str, str],
        log: Log,
        *,
        hung_after_s: float | None,
        on_news: Callable[[News], None],
    ) -> None:
        self._slots = [_Slot(c) for c in configurations]
        self._environ = inheriting.for_gateway(environ)
        self._log = log
        self._hung_after_s = hung_after_s
        self._on_news = on_news
        self._table = Table(generation=0, routes=(), pools=())
        self._changed = asyncio.Condition()
        self._draining = False
        self.opened = False
        self._token = 0
        self._turn = 0
        self._totals = Totals()

    @property
    def pids(self) -> list[int]:
        """The process ids of the gateways that run."""
        return [s.child.pid for s in self._slots if s.child and s.child.running]

    @property
    def running(self) -> list[tuple[int, int]]:
        """(index, process id) of the gateways that run."""
        return [(s.configure.index, s.child.pid) for s in self._slots if s.child and s.child.running]

    @property
    def restarts(self) -> int:
        """How many gateways have been replaced so far."""
        return sum(s.restarts.total for s in self._slots)

    @property
    def in_force(self) -> bool:
        """Whether every gateway runs and has applied the newest table."""
        return all(s.applied >= self._table.generation for s in self._slots)

    async def run(self) -> None:
        """Keep every gateway running; returns when all have drained. Cancelling kills them."""
        async with asyncio.TaskGroup() as tasks:
            for slot in self._slots if not self._draining else ():
                slot.task = tasks.create_task(self._keep(slot))

    def publish(self, table: Table) -> None:
        """Make this the table that should be in force."""
        self._table = table
        for slot in self._slots:
            slot.told |= {p.key for p in table.pools}
            slot.say(table)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever a gateway says something."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def drained(self, pool: str) -> None:
        """Wait until no gateway has anything of a pool that was taken out of the table."""
        await self.until(lambda: all(pool not in s.told for s in self._slots))

    async def stats(self, within_s: float = 1.0) -> list[Stats]:
        """Ask every gateway for its counters; one that does not answer in time is left out."""
        self._token += 1
        token = self._token
        waiting = []
        for slot in self._slots:
            if slot.writer is not None:
                future: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
                slot.stats[token] = future
                slot.say(AskStats(token))
                waiting.append(future)
        if not waiting:
            return []
        done, _ = await asyncio.wait(waiting, timeout=within_s)
        for slot in self._slots:
            slot.stats.pop(token, None)
        return [f.result() for f in done if not f.cancelled()]

    async def samples(self) -> list[Sample]:
        """What all gateways have counted since headrace started; sums never go back."""
        await self.stats()
        return self._totals.samples()

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Ask a pool for a prediction by the way that a client's request goes; the gateways take turns.

        Raises nothing: what does not come within `within_s` is an answer 504 with its reason.
        """
        self._token += 1
        token = self._token
        able = [s for s in self._slots if s.writer is not None and s.applied >= 0]
        if not able:
            return Probed(token=token, status=503, reason="no gateway is up")
        self._turn += 1  # the token counts other questions, too: with two gateways it could be odd at every probe
        slot = able[self._turn % len(able)]
        future: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        slot.probes[token] = future
        slot.say(Probe(token=token, pool=pool, body=body, timeout_s=within_s))
        try:
            # The gateway itself says when the time is over; should it not, it is the gateway that hangs.
            return await asyncio.wait_for(future, within_s + _GATEWAY_GRACE_S)
        except TimeoutError:
            return Probed(token=token, status=504, reason=f"gateway {slot.configure.index} did not answer")
        finally:
            slot.probes.pop(token, None)

    def drain(self) -> None:
        """Let every gateway finish what it has and end; one that is still on its way up has nothing."""
        self._draining = True
        for slot in self._slots:
            if slot.applied >= 0:
                slot.say(Drain())
            elif slot.task is not None:
                slot.task.cancel()

    async def _keep(self, slot: _Slot) -> None:
        log = self._log.bind(gateway=slot.configure.index)
        while True:
            how = await self._one_life(slot, log)
            slot.writer, slot.applied = None, -1
            self._totals.forget(slot.configure.index)
            slot.told = set()  # a gateway that is gone has nothing of any pool
            async with self._changed:
                self._changed.notify_all()
            if self._draining:
                return
            lived_s = time.monotonic() - slot.child.started_s if slot.child is not None else 0.0
            wait_s = slot.restarts.died(lived_s, random.random()) or 0.0  # noqa: S311 - spreads restarts
            wait_s = wait_s if slot.restarts.deaths > 1 else 0.0
            log.error("gateway ended", exit=how, restart_in_s=round(wait_s, 2), kept="all workers")
            await asyncio.sleep(wait_s)

    async def _one_life(self, slot: _Slot, log: Log) -> str:
        slot.child = None
        try:
            slot.child, reader, slot.writer = await start_controlled(
                "headrace.gateway",
                ["--index", str(slot.configure.index)],
                log=log,
                pass_fds=[one.fd for one in slot.configure.listeners],
                environ=self._environ,
            )
        except OSError as error:
            return f"not started: {error}"
        slot.told = {p.key for p in self._table.pools}
        slot.say(slot.configure)
        slot.say(self._table)
        decoder: framing.Decoder[FromGateway] = framing.Decoder(FromGateway)
        slot.pulse.start(self._hung_after_s, lambda: slot.say(Ping()), lambda silent_s: self._hung(slot, silent_s, log))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    for message in decoder.feed(data):
                        await self._heard(slot, message)
            slot.writer.close()
            return describe_exit(await slot.child.wait())
        except framing.FramingError as error:
            log.error("gateway broke the protocol", reason=str(error))
            slot.child.signal(signal.SIGKILL)
            return describe_exit(await slot.child.wait())
        except asyncio.CancelledError:
            slot.child.signal(signal.SIGKILL)
            await slot.child.wait()
            raise
        finally:
            slot.pulse.stop()

    def _hung(self, slot: _Slot, silent_s: float, log: Log) -> None:
        """Its event loop stands still. What clients have sent it is lost; who connects now waits for the next one."""
        if slot.child is not None:
            log.error("gateway hung", pid=slot.child.pid, silent_s=round(silent_s, 1), kept="all workers")
            slot.child.signal(signal.SIGKILL)

    async def _heard(self, slot: _Slot, message: FromGateway) -> None:
        slot.pulse.heard()
        if isinstance(message, Applied):
            slot.applied = message.generation
            self.opened = True
        elif isinstance(message, Drained):
            slot.told.discard(message.pool)
        elif isinstance(message, Stats):
            self._totals.feed(slot.configure.index, message.values)
            future = slot.stats.pop(message.token, None)
            if future and not future.done():
                future.set_result(message)
        elif isinstance(message, Probed):
            waiting = slot.probes.get(message.token)
            if waiting and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, News):
            self._on_news(message)
        elif isinstance(message, Crowded):
            log = self._log.bind(gateway=slot.configure.index)
            log.warning("connections turned away", status=503, limit=_CROWDED[message.reason])
        async with self._changed:
            self._changed.notify_all()
