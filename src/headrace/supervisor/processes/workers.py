"""The worker processes of one served version: loads it once, forks replicas, and replaces what dies.

One loop looks at what there is and at what there should be, and takes the next step. A *host* process loads the model.
Where it can be forked, its replicas are forks of it: a replica that dies is replaced in milliseconds, and replicas
outlive their host (they are ours, see `ControlRoom`). Where it cannot, each host becomes one replica itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from headrace.core.errors import HeadraceError
from headrace.core.processes import inheriting
from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.protocol.messages import WorkerRef
from headrace.core.protocol.raised import Raised
from headrace.core.protocol.worker_events import Event, Exited, Failed, Loaded, Ready
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes.compiled_states import CompiledStates
from headrace.supervisor.processes.worker_control import ControlRoom, Reporter
from headrace.supervisor.processes.worker_hearing import END_S, Hear, hear_out, watch_over
from headrace.supervisor.processes.worker_process import EndReason, Host, Replica, WorkerSpec, start_host
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.telemetry.logs import Log

_STOP_GRACE_S = 1.0
_STOPS = "its version ends"
_LEAVES_S = 1.0
"""How long gateways have to hear that a replica takes nothing more; what it was given before is finished."""


class Workers:
    """All processes of one version.

    `on_change` is called whenever `ready` may have changed, and what ended unasked is counted in `ended`. `bring` gives
    the model directory, verified, for each load after the first, or raises HeadraceError.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        room: ControlRoom,
        log: Log,
        on_change: Callable[[], None],
        ended: dict[EndReason, int],
        bring: Callable[[], Awaitable[str]],
        zygotes: Zygotes,
    ) -> None:
        self.spec = spec
        self.facts: dict[str, Any] = {}
        self.warm_up: dict[str, Any] = {}
        self.raised: tuple[Raised, ...] = ()
        self.failure: str | None = None
        self.failure_detail = self.trouble = ""  # of the version; of a load that is tried again
        self.proven, self.compiled = False, CompiledStates(log)
        self.load_s: float | None = None
        self.loads = Restarts(RestartPolicy(give_up_after=3))
        self.restarts = Restarts(RestartPolicy(first_s=0.1, most_s=10.0, healthy_s=10.0))
        self._ended = ended
        self._bring = bring
        self._verified = False
        self._room, self._zygotes = room, zygotes
        self._log, self._on_change = log, on_change
        self._hosts: list[Host] = []
        self._replicas: dict[str, Replica] = {}
        self._path = ""
        self._prepared: Prepared | None = None
        self._serial = 0
        self._not_before_s = 0.0
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self._stopping = False

    def __repr__(self) -> str:
        ready = sum(r.ready for r in self._replicas.values())
        return f"<Workers {self.spec.label} hosts={len(self._hosts)} replicas={ready}/{self.spec.replicas}>"

    @property
    def ready(self) -> tuple[WorkerRef, ...]:
        """The replicas that can get requests, oldest first."""
        return tuple(WorkerRef(r.id, r.socket) for r in self._replicas.values() if r.ready and not r.leaving)

    @property
    def processes(self) -> list[dict[str, Any]]:
        """Every process as data, for the status."""
        hosts = [
            {"role": "host", "pid": h.child.pid, "state": "loaded" if h.loaded else "loading", "index": index}
            for index, h in enumerate(self._hosts)
            if h.serving is None
        ]
        return hosts + [
            {"role": "replica", "id": r.id, "pid": r.reporter.pid if r.reporter else None,
             "state": r.state, "index": r.index, "rss_bytes": r.rss_bytes}
            for r in self._replicas.values()
        ]  # fmt: skip

    @property
    def zygote(self) -> dict[str, Any] | None:
        """What its hosts are forked from, as data; None: each is a process of its own."""
        if self._prepared is None or not self.spec.share_imports:
            return None
        return self._zygotes.describe(self._prepared, self.spec.environ)

    def scale(self, replicas: int) -> None:
        """Set the number of replicas. Surplus ones finish their requests and end, the newest first."""
        self.spec = replace(self.spec, replicas=replicas)
        staying = sorted(self._staying, key=lambda replica: not replica.ready)
        for replica in staying[replicas:]:
            replica.leaving = True
            asyncio.get_running_loop().call_later(_LEAVES_S, self._dismiss, replica)
        self._wake.set()
        self._on_change()

    def load(self, path: str, prepared: Prepared, *, verified: bool) -> None:
        """Say where the model directory is (`verified` just now?) and what it runs in: the first host starts now."""
        self._path, self._prepared, self._verified = path, prepared, verified
        self._zygotes.enter(prepared, self.spec.environ)
        self._wake.set()

    async def run(self) -> None:
        """Keep the version running until it is cancelled or has failed for good (`failure` says why).

        Cancelling ends every process of it before this returns.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    while self.failure is None:
                        self._wake.clear()
                        wait_s = await self._step()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(wait_s):
                                await self._wake.wait()
                finally:
                    await self._stop()
        except* Exception as group:  # noqa: BLE001 - a fault of ours in one of its tasks: whoever runs this tells it
            raise group.exceptions[0] from None
        finally:
            self._on_change()

    def kill(self, replica_id: str, why: str, end: EndReason) -> None:
        """Kill one replica that no longer works; the loop replaces it."""
        replica = self._replicas.get(replica_id)
        if replica and replica.reporter:
            self._log.warning("worker killed", worker=replica_id, pid=replica.reporter.pid, reason=why)
            replica.kill(why, end)

    def cut_off(self, replica_id: str) -> None:
        """A gateway's connection to a replica has ended: that is its end, or nothing can reach it any more."""
        if replica_id in self._replicas:
            why = "it has closed its connection to a gateway"
            asyncio.get_running_loop().call_later(END_S, self.kill, replica_id, why, "protocol")

    @property
    def _staying(self) -> list[Replica]:
        return [replica for replica in self._replicas.values() if not replica.leaving]

    def _dismiss(self, replica: Replica) -> None:
        """End a replica that gets no more requests from gateways."""
        if replica.id not in self._replicas:
            return
        if replica.reporter is not None and replica.ready:
            replica.reporter.retire()
        else:  # it has not come up yet
            asyncio.get_running_loop().call_later(_LEAVES_S, self._dismiss, replica)

    async def _step(self) -> float | None:
        """Take the one step that is due; returns the seconds until the next may be, None: when something happens."""
        if self._prepared is None:
            return None
        missing = self.spec.replicas - len(self._staying)
        loading = any(not h.loaded for h in self._hosts)
        source = next((h for h in self._hosts if h.loaded and h.serving is None and h.reporter), None)
        now_s = time.monotonic()
        if source is None and not loading and (missing or self._may_fork()):
            if now_s < self._not_before_s:
                return self._not_before_s - now_s
            await self._start_host(self._prepared)
            return None
        if missing > 0 and source and source.reporter:
            if now_s < self._not_before_s:
                return self._not_before_s - now_s
            replica = self._new_replica()
            if source.forkable:
                source.forked[replica.id] = replica
                replica.token = self._room.invite("replica", lambda reporter: self._follow_replica(replica, reporter))
                source.reporter.fork(replica.id, replica.socket, replica.token)
            else:
                source.serving, replica.reporter, replica.pulse = replica, source.reporter, source.pulse
                source.pulse.stop()  # it warms up now, for as long as that takes
                source.reporter.serve(replica.id, replica.socket)
            return 0.0
        return None

    def _may_fork(self) -> bool:
        """Whether a host is worth having even when all replicas live: the next one to die is then replaced at once."""
        return self.spec.replicas == 0 or self.facts.get("forkable", False) is True

    async def _start_host(self, prepared: Prepared) -> None:
        started: asyncio.Future[Host] = asyncio.get_running_loop().create_future()

        async def greet(reporter: Reporter) -> None:
            await self._follow_host(await started, reporter)

        try:
            if not self._verified:
                self._path = await self._bring()
            self._verified = False  # each further load begins with that
            host = await start_host(self.spec, self._room, self._zygotes, prepared, self._path, greet, self._log)
        except (OSError, HeadraceError) as error:
            reason = str(error) if isinstance(error, HeadraceError) else _not_started(prepared, error)
            if not self.proven:
                self._fail(reason, "")
                return
            # What serves goes on with the processes that it has.
            wait_s = self.loads.died(0.0, random.random()) or self.loads.policy.most_s  # noqa: S311 - as below
            self.trouble = reason
            self._log.error("worker not started", reason=reason, retry_in_s=round(wait_s, 2))
            self._not_before_s = time.monotonic() + wait_s
            self._wake.set()
            self._on_change()
            return
        self._hosts.append(host)
        started.set_result(host)
        self._log.debug("worker started", pid=host.child.pid, python=prepared.python)
        self._tasks.create_task(self._watch(host))

    async def _watch(self, host: Host) -> None:
        await host.child.wait()
        self._room.uninvite(host.token)
        self._hosts.remove(host)
        lived_s = time.monotonic() - host.child.started_s
        if self._stopping:
            return
        if host.loaded:
            for replica in [r for r in self._replicas.values() if r.reporter is None]:
                self._lost(replica, "its host ended before it could report", "died")
            if host.serving is None:
                self._log.warning("worker host ended", pid=host.child.pid, exit=host.child.describe())
                self._ended["host"] += 1
                self._back_off(self.restarts, lived_s)
        else:
            reason = host.reason or f"the worker {host.child.describe()} while loading"
            detail = host.detail or "\n".join(host.child.last_lines)
            self._ended["load"] += 1
            wait_s = self.loads.died(lived_s, random.random())  # noqa: S311 - spreads restarts, guards nothing
            if wait_s is None and not self.proven:
                self._fail(reason, detail)
                return
            wait_s = self.loads.policy.most_s if wait_s is None else wait_s
            self.trouble = reason
            self._on_change()
            self._log.error("model did not load", reason=reason, attempt=self.loads.deaths, retry_in_s=round(wait_s, 2))
            self._not_before_s = time.monotonic() + wait_s
        self._wake.set()

    async def _follow_host(self, host: Host, reporter: Reporter) -> None:
        host.reporter = reporter
        reporter.load(self._path, {**self.spec.options, "version": self.spec.label.rpartition("/")[2]})
        why, end = await self._hear_out(reporter, host, lambda event: self._host_said(host, reporter, event))
        host.reporter = None
        if host.serving is not None:
            self._lost(host.serving, why, end)

    def _host_said(self, host: Host, reporter: Reporter, event: Event) -> None:
        if isinstance(event, Loaded):
            # Not before: a model may take its time to load, and its process says nothing meanwhile.
            watch_over(host, reporter, "worker host hung", self.spec.hung_after_s, self._log)
            host.loaded, host.forkable, self.trouble = True, event.forkable, ""
            self.facts = {**msgspec.to_builtins(event.facts), "forkable": event.forkable}
            self.load_s = event.took_s
            self.loads.deaths = 0
            self._learn(event.imported)
            self._log.debug("model loaded", took_s=round(event.took_s, 3), forkable=host.forkable)
            self._wake.set()
            self._on_change()
        elif isinstance(event, Failed):
            host.reason, host.detail = event.reason, event.detail
        elif isinstance(event, Exited):
            replica = host.forked.pop(event.replica)
            self._room.uninvite(replica.token)
            how = replica.ending.describe(event.exit)
            if replica.reporter is None:
                self._lost(replica, f"{how} before it could report", "died")
            else:
                self._log.info("worker ended", worker=replica.id, exit=how)
        elif isinstance(event, Ready) and host.serving is not None:
            watch_over(host.serving, reporter, "worker hung", self._patience_s, self._log)
            self._ready(host.serving, event)

    async def _follow_replica(self, replica: Replica, reporter: Reporter) -> None:
        replica.reporter = reporter

        def said(event: Event) -> None:
            if isinstance(event, Ready):
                watch_over(replica, reporter, "worker hung", self._patience_s, self._log)
                self._ready(replica, event)

        if replica.id in self._replicas:  # else its host ended before it could report, and another has its place
            why, end = await self._hear_out(reporter, replica, said)
            self._lost(replica, why, end)

    async def _hear_out(self, reporter: Reporter, one: Replica | Host, hear: Hear) -> tuple[str, EndReason]:
        return await hear_out(reporter, one, hear, lambda: self._stopping, self._log)

    @property
    def _patience_s(self) -> float | None:
        """How long a replica may be silent: it says nothing while it predicts, and that may take `timeout_s`."""
        hung_after_s = self.spec.hung_after_s
        return None if hung_after_s is None else hung_after_s + self.spec.timeout_s

    def _ready(self, replica: Replica, event: Ready) -> None:
        replica.ready, replica.rss_bytes = True, event.rss_bytes
        self.warm_up, self.raised = msgspec.to_builtins(event.warm_up), event.raised
        self.facts = {**msgspec.to_builtins(event.facts), "forkable": self.facts.get("forkable", False)}
        self.proven = True
        self._learn(event.imported)
        self._log.info("worker ready", worker=replica.id, pid=replica.reporter.pid if replica.reporter else None)
        self._wake.set()
        self._on_change()

    def _lost(self, replica: Replica, why: str, end: EndReason) -> None:
        if self._replicas.pop(replica.id, None) is None or self._stopping:
            return
        replica.unlink()
        self.compiled.forget(replica.id)
        if replica.leaving:
            self._log.info("worker left", worker=replica.id, reason="fewer replicas are wanted")
            self._wake.set()
            self._on_change()
            return
        reason = f"killed by headrace: {replica.ending.why}" if replica.ending.why else why
        self._log.warning("worker lost", worker=replica.id, reason=reason)
        self._ended[end if replica.end == "died" else replica.end] += 1
        self._back_off(self.restarts, time.monotonic() - replica.started_s)
        if not self.proven and self.restarts.deaths >= 3:
            self._fail(f"the worker died {self.restarts.deaths} times while it warmed up ({why})", "")
        self._wake.set()
        self._on_change()

    def _back_off(self, restarts: Restarts, lived_s: float) -> None:
        wait_s = restarts.died(lived_s, random.random()) or 0.0  # noqa: S311 - as above
        # The first quick death is repaired at once: only the second in a row says that something is wrong.
        self._not_before_s = time.monotonic() + (wait_s if restarts.deaths > 1 else 0.0)

    def _learn(self, imported: tuple[str, ...]) -> None:
        if imported and self._prepared is not None and self.spec.share_imports:
            self._tasks.create_task(self._zygotes.learn(self._prepared, self._path, imported))

    def _new_replica(self) -> Replica:
        self._serial += 1
        name = f"{self.spec.key}.{self._serial}"
        taken = {replica.index for replica in self._replicas.values()}
        # The whole path of a Unix socket may have 107 bytes: the pool's serial number names it, not the model.
        replica = Replica(
            id=name,
            socket=str(self._room.directory / f"{name.rpartition('#')[2]}.sock"),
            index=next(index for index in range(len(taken) + 1) if index not in taken),
            compiled=self.compiled,
        )
        self._replicas[name] = replica
        return replica

    def _fail(self, reason: str, detail: str) -> None:
        self.failure = f"{reason}{inheriting.hint(f'{reason} {detail}', self.spec.kept_back)}"
        self.failure_detail = detail
        self._wake.set()

    async def _stop(self) -> None:
        self._stopping = True
        for replica in self._replicas.values():
            replica.kill(_STOPS)
            replica.unlink()
        self._replicas.clear()
        await asyncio.gather(*(h.child.stop(_STOP_GRACE_S, _STOPS) for h in list(self._hosts)), return_exceptions=True)
        if self._prepared is not None:
            self._zygotes.leave(self._prepared, self.spec.environ)


def _not_started(prepared: Prepared, error: OSError) -> str:
    return f"{prepared.python} cannot be started: {error.strerror}"
