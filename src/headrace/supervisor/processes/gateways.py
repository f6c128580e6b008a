"""Starts the gateways, sends them the route table, and replaces one that dies. Workers are not affected."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable, Mapping

from msgspec import structs

from headrace.core.errors import HeadraceError
from headrace.core.processes import inheriting
from headrace.core.processes.restart import RestartPolicy
from headrace.core.protocol.messages import (
    Applied,
    AskStats,
    Certificate,
    Configure,
    Crowded,
    Drain,
    Drained,
    FromGateway,
    KeysWanted,
    ListensNoMore,
    News,
    Probe,
    Probed,
    Stats,
    Table,
)
from headrace.core.security.access import Access
from headrace.core.security.quotas import memory_bytes
from headrace.core.telemetry.totals import Sample, Totals
from headrace.supervisor.processes.controlled import ControlledProcess
from headrace.telemetry.logs import Log

_GATEWAY_GRACE_S = 1.0
_CROWDED = {
    "connections": "gateway.max_connections",
    "client": "gateway.max_connections_per_client",
    "descriptors": "ulimit -n",
}
"""The limit that was met where connections are turned away."""


_COME_UP_S = 60.0
"""How long new gateways may take until they have the ports; milliseconds are usual."""
_OVERDUE_S = 10.0
_LISTENS_ON_S = 10.0
"""How long is waited for a gateway that is told to drain and does not say that it accepts no connection any more."""


class _Slot:
    """One gateway's place: its sockets are ours and outlive it. `applied` is the generation of its newest table.

    `is_open`: it may take clients. `listens`: it does, for all that is known.
    `serial` is its own for ever: a gateway that takes over from another has the index of that one.
    """

    def __init__(self, serial: int, configure: Configure, process: ControlledProcess[FromGateway]) -> None:
        self.serial = serial
        self.configure = configure
        self.process = process
        self.task: asyncio.Task[None] | None = None
        self.applied = -1
        self.is_open = True
        self.listens = False
        self.told: set[str] = set()
        self.stats: dict[int, asyncio.Future[Stats]] = {}
        self.probes: dict[int, asyncio.Future[Probed]] = {}


class _QuotaMemory:
    """What gateways share to count in what clients use: it outlives each of them.

    It has two halves with a part for each of so many `gateways`: one half for those that run, and one for those that
    take over from them, for a part has one writer.
    """

    def __init__(self, gateways: int) -> None:
        self.gateways = gateways
        self._fd = os.memfd_create("headrace-quotas")
        os.ftruncate(self._fd, memory_bytes(2 * gateways))

    def told(self, configure: Configure, half: int) -> Configure:
        """The message to a gateway that uses this memory."""
        part = configure.index + half * self.gateways
        return structs.replace(configure, processes=2 * self.gateways, quota_part=part, quota_fd=self._fd)

    def close(self) -> None:
        """Close it: no further gateway is started."""
        os.close(self._fd)


class Gateways:
    """All gateways as one: `publish` a table, wait until it is in force everywhere; `replace` them by others.

    Those that are on their way up, and those that finish what they have, are told what the others are. `on_news` is
    told what gateways say of workers and models without being asked, `on_keys_wanted` whose keys are not the newest.
    """

    def __init__(
        self,
        configurations: list[Configure],
        environ: Mapping[str, str],
        log: Log,
        *,
        hung_after_s: float | None,
        on_news: Callable[[News], None],
    ) -> None:
        self._environ = inheriting.for_gateway(environ)
        self._log = log
        self._hung_after_s = hung_after_s
        self._on_news = on_news
        self.on_keys_wanted: Callable[[str], None] = lambda _: None
        self._serial = itertools.count()
        self._memory = _QuotaMemory(len(configurations))
        self._half = 0
        self._slots = [self._slot(self._memory.told(c, self._half)) for c in configurations]
        self._successors: list[_Slot] = []
        self._leaving: list[_Slot] = []
        self._tasks: asyncio.TaskGroup
        self._certificate: Certificate | None = None
        self._access: Access | None = None
        self._table = Table(generation=0, routes=(), pools=())
        self._changed = asyncio.Event()
        self._draining = False
        self._former_restarts = 0
        self.opened = False
        self._token = 0
        self._turn = 0
        self._totals = Totals()

    @property
    def pids(self) -> list[int]:
        """The process ids of the gateways that run."""
        return [pid for _, pid in self.running]

    @property
    def running(self) -> list[tuple[int, int]]:
        """(index, process id) of the gateways that run."""
        return [(s.configure.index, s.process.pid) for s in self._slots if s.process.pid is not None]

    @property
    def restarts(self) -> int:
        """How many gateways have been replaced so far."""
        return self._former_restarts + sum(s.process.restarts.total for s in self._slots)

    @property
    def in_force(self) -> bool:
        """Whether every gateway runs and has applied the newest table."""
        return all(s.applied >= self._table.generation for s in self._slots)

    async def run(self) -> None:
        """Keep every gateway running; returns when all have drained. Cancelling kills them."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for slot in self._slots if not self._draining else ():
                    slot.task = self._tasks.create_task(slot.process.run())
        finally:
            self._memory.close()

    async def replace(
        self, configurations: list[Configure], certificate: Certificate | None, access: Access | None, within_s: float
    ) -> None:
        """Have gateways of these configurations take over; returns when clients that connect meet them alone.

        They come up beside those that run, and take no client before all of them are up. Those that run then take no
        more connections; each answer ends its connection, and what was asked has `within_s` to be answered. Raises
        HeadraceError where the new ones do not come up: then those that run go on, and no client has met another.
        Cancelling before the new ones take clients means the same. Cancelling after that ends the wait alone: the new
        ones take over all the same.

        What clients have used counts on, unless there are more or fewer gateways than before, or those of the last time
        have not all ended.
        """
        former = self._certificate, self._access
        self._certificate, self._access = certificate, access
        memory, half = self._memory, 1 - self._half
        if self._leaving or len(configurations) != memory.gateways:
            memory, half = _QuotaMemory(len(configurations)), 0
        self._successors = [self._slot(memory.told(one, half)) for one in configurations]
        try:
            for slot in self._successors:
                slot.is_open = False
                slot.task = self._tasks.create_task(slot.process.run())
            async with asyncio.timeout(_COME_UP_S):
                await self.until(lambda: all(slot.applied >= 0 for slot in self._successors))
        except BaseException as error:
            self._certificate, self._access = former
            for slot in self._successors:
                if slot.task is not None:
                    slot.task.cancel()
            if memory is not self._memory:
                memory.close()
            if isinstance(error, TimeoutError):
                raise HeadraceError(f"new gateways did not come up within {_COME_UP_S:g} s; see the log") from None
            raise
        finally:
            successors, self._successors = self._successors, []
        old, self._slots = self._slots, successors
        if memory is not self._memory:
            self._memory.close()
        self._memory, self._half = memory, half
        self._former_restarts += sum(slot.process.restarts.total for slot in old)
        self._leaving += old
        await asyncio.shield(self._tasks.create_task(self._hand_over(old, within_s)))

    async def _hand_over(self, old: list[_Slot], within_s: float) -> None:
        """Have the new gateways take clients, and then the old ones no more."""
        for slot in self._slots:
            slot.is_open = True
            slot.process.say(self._table)
        # One that ends just now is started again, and the kernel holds who connects to it until then.
        if self._table.open:
            await self._until_at_most(_COME_UP_S, lambda: self._draining or all(slot.listens for slot in self._slots))
        for slot in old:
            slot.process.end_after(Drain(within_s=within_s, patient=True))
            overdue_s = within_s + _OVERDUE_S
            asyncio.get_running_loop().call_later(overdue_s, slot.process.kill, "it had finished nothing for too long")
        # Until it has heard of that, a former gateway accepts clients beside the new ones, and answers by what was.
        await self._until_at_most(
            _LISTENS_ON_S, lambda: not any(slot.listens and slot.process.connected for slot in old)
        )

    def show(self, certificate: Certificate) -> None:
        """Have every gateway show this certificate from now on."""
        self._certificate = certificate
        for slot in self._all:
            slot.process.say(certificate)

    def admit_by(self, access: Access) -> None:
        """Have every gateway use these access rules."""
        self._access = access
        for slot in self._all:
            slot.process.say(access)

    def publish(self, table: Table) -> None:
        """Send this table to every gateway."""
        self._table = table
        for slot in self._all:
            slot.told |= {p.key for p in table.pools}
            slot.process.say(self._table_of(slot))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever a gateway says something."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _until_at_most(self, most_s: float, condition: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.until(condition)

    async def drained(self, pool: str) -> None:
        """Wait until no gateway has requests of a pool that was taken out of the table."""
        await self.until(lambda: all(pool not in s.told for s in self._all))

    async def stats(self, within_s: float = 1.0) -> list[Stats]:
        """Ask every gateway for its counters; one that does not answer in time is left out."""
        self._token += 1
        token = self._token
        waiting = []
        asked = self._all
        for slot in asked:
            if slot.process.connected:
                future: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
                slot.stats[token] = future
                slot.process.say(AskStats(token))
                waiting.append(future)
        if not waiting:
            return []
        done, _ = await asyncio.wait(waiting, timeout=within_s)
        for slot in asked:
            slot.stats.pop(token, None)
        return [f.result() for f in done if not f.cancelled()]

    async def samples(self) -> list[Sample]:
        """The sums of the counters of all gateways since the start of headrace. They never decrease."""
        await self.stats()
        return self._totals.samples()

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Ask a pool for a prediction by the way that a client's request goes; the gateways take turns.

        Raises nothing: what does not come within `within_s` is an answer 504 with its reason.
        """
        self._token += 1
        token = self._token
        able = [s for s in self._slots if s.process.connected and s.applied >= 0]
        if not able:
            return Probed(token=token, status=503, reason="no gateway is up")
        self._turn += 1  # the token counts other questions, too: with two gateways it could be odd at every probe
        slot = able[self._turn % len(able)]
        future: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        slot.probes[token] = future
        slot.process.say(Probe(token=token, pool=pool, body=body, timeout_s=within_s))
        try:
            # The gateway itself says when the time is over; should it not, it is the gateway that hangs.
            async with asyncio.timeout(within_s + _GATEWAY_GRACE_S):
                return await future
        except TimeoutError:
            return Probed(token=token, status=504, reason=f"gateway {slot.configure.index} did not answer")
        finally:
            slot.probes.pop(token, None)

    def drain(self) -> None:
        """Let every gateway finish what it has and end; one that is still on its way up has nothing."""
        self._draining = True
        for slot in self._all:
            if slot.applied >= 0:
                slot.process.end_after(Drain())
            elif slot.task is not None:
                slot.task.cancel()

    def kill(self, why: str) -> None:
        """End every gateway at once."""
        for slot in self._all:
            slot.process.kill(why)

    def _slot(self, configure: Configure) -> _Slot:
        shared = [configure.quota_fd] if configure.quota_fd is not None else []
        if configure.ties is not None:
            shared += [configure.ties.lifeline_fd, configure.ties.leash_fd]
        process: ControlledProcess[FromGateway] = ControlledProcess(
            "gateway",
            "headrace.gateway",
            FromGateway,
            arguments=["--index", str(configure.index)],
            pass_fds=[*(one.fd for one in configure.listeners), *shared],
            environ=self._environ,
            log=self._log.bind(gateway=configure.index),
            kept="all workers",
            policy=RestartPolicy(first_s=0.1, healthy_s=10.0),
            hung_after_s=self._hung_after_s,
            on_up=lambda: self._up(slot),
            on_message=lambda message: self._heard(slot, message),
            on_down=lambda: self._down(slot),
        )
        slot = _Slot(next(self._serial), configure, process)
        return slot

    @property
    def _all(self) -> list[_Slot]:
        return [*self._slots, *self._successors, *self._leaving]

    def _up(self, slot: _Slot) -> None:
        slot.told = {p.key for p in self._table.pools}
        if self._certificate is not None:
            slot.process.say(self._certificate)
        if self._access is not None:
            slot.process.say(self._access)
        slot.process.say(slot.configure)
        slot.process.say(self._table_of(slot))

    def _table_of(self, slot: _Slot) -> Table:
        return self._table if slot.is_open else structs.replace(self._table, open=False)

    def _down(self, slot: _Slot) -> None:
        """A gateway has ended, and has nothing of any pool any more. Who connects meanwhile waits for the next one."""
        slot.applied = -1
        slot.listens = False
        slot.told = set()
        self._totals.forget(slot.serial)
        self._leaving = [one for one in self._leaving if one is not slot]
        self._changed.set()

    def _heard(self, slot: _Slot, message: FromGateway) -> None:
        if isinstance(message, Applied):
            slot.applied = message.generation
            slot.listens = message.listens
            self.opened = True
        elif isinstance(message, Drained):
            slot.told.discard(message.pool)
        elif isinstance(message, ListensNoMore):
            slot.listens = False
        elif isinstance(message, Stats):
            self._totals.feed(slot.serial, message.values)
            future = slot.stats.pop(message.token, None)
            if future and not future.done():
                future.set_result(message)
        elif isinstance(message, Probed):
            waiting = slot.probes.get(message.token)
            if waiting and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, News):
            self._on_news(message)
        elif isinstance(message, KeysWanted):
            self.on_keys_wanted(message.issuer)
        elif isinstance(message, Crowded):
            log = self._log.bind(gateway=slot.configure.index)
            log.warning("connections turned away", status=503, limit=_CROWDED[message.reason])
        self._changed.set()
