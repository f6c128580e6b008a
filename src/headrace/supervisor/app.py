"""The supervisor: owns the configuration, the listening sockets, every child process, and the route table.

It never imports mlflow or pandas, never runs model code, and never blocks its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.config import environment
from headrace.config.changes import Plan
from headrace.config.secrecy import make_undumpable
from headrace.config.tree import Config
from headrace.core.admin.webhooks import Verifier
from headrace.core.errors import HeadraceError
from headrace.core.protocol.messages import Probed, Table, Ties
from headrace.core.telemetry.recent import Figures
from headrace.core.telemetry.totals import Sample
from headrace.keeper.kept import Kept
from headrace.security.contexts import ServerContext
from headrace.supervisor import wire_config
from headrace.supervisor.admin.sampler import Sampler
from headrace.supervisor.audit import AuditFile, open_audit
from headrace.supervisor.file_watch import FileWatch
from headrace.supervisor.fleet import Fleet
from headrace.supervisor.front import Front
from headrace.supervisor.gateway_news import GatewayNews
from headrace.supervisor.load_watch import LoadWatch
from headrace.supervisor.making import ModelMaker
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.processes.learned import Learned
from headrace.supervisor.processes.liveness import Heartbeat
from headrace.supervisor.processes.orphans import become_subreaper
from headrace.supervisor.processes.recorder import RecorderProcess
from headrace.supervisor.processes.worker_control import ControlRoom
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.supervisor.reloading import NotReloaded, Reloads, Source
from headrace.supervisor.security.access import AccessRules
from headrace.supervisor.security.certificates import PortCertificate
from headrace.supervisor.takeover import Takeover
from headrace.supervisor.wildcard import Wildcard
from headrace.telemetry.logs import Level, Log


class Supervisor:
    """One running headrace. `bind` takes the ports, `run` serves until it is told to stop."""

    def __init__(
        self,
        config: Config,
        log: Log,
        environ: Mapping[str, str] | None = None,
        source: Source | None = None,
        level: Level | None = None,
        *,
        watch: bool = False,
        kept: Kept | None = None,
    ) -> None:
        self.config = config
        self.reloads = Reloads(source, self, log)
        self.started_s = time.time()
        self.draining = False
        self.fleet = Fleet(self.publish, log)
        self.models = self.fleet.models
        self.gateways: Gateways
        self.recorder: RecorderProcess | None = None
        self.zygotes: Zygotes | None = None
        self.agent: RegistryAgent
        self.audit: AuditFile | None = None
        self._loads = LoadWatch(self.fleet.everything, log)
        self.sampler = Sampler(self.samples, log, self._counted)
        self.webhooks: Verifier | None = None
        self._takeover = Takeover(kept, log)
        self.kept = kept
        self._front = Front(log, kept)
        self._log = log
        self._level = level
        self._given = os.environ if environ is None else environ
        self._environ = environment.for_children(self._given)
        self._notifier = self._takeover.notifier(self._given)
        self._generation = 0
        self._begun = asyncio.Event()
        self._stop = asyncio.Event()
        self._watch = FileWatch(source.file, lambda: self._reload("the file itself")) if source and watch else None
        self._reloading: set[asyncio.Task[None]] = set()
        self._on_terminal = _on_terminal()
        self._set_up()

    def bind(self) -> None:
        """Take every port, or none: raises ConfigError with the path of the one that cannot be had."""
        self._front.bind(self.config)

    def address(self, name: str | None, *, grpc: bool = False) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served, or all are by gRPC; None if there is no such port."""
        return self._front.ports.grpc if grpc else self._front.ports.of_model(name)

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Where the admin port is."""
        return self._front.admin_address

    @property
    def certificates(self) -> Sequence[PortCertificate]:
        """The certificates of the ports with TLS; none before `run`."""
        return self._front.security.certificates if self._front.security is not None else ()

    @property
    def access(self) -> AccessRules | None:
        """Who may do what; None: everybody may do everything, or `run` has not begun."""
        return self._front.security.rules if self._front.security is not None else None

    @property
    def listed(self) -> bool:
        """Whether it is known which models there are: see `Fleet.listed`."""
        return self.fleet.listed

    @property
    def wildcard(self) -> Wildcard | None:
        """What adds models that the registry lists; None where nothing does."""
        return self.fleet.wildcard

    async def run(self, on_settled: Callable[[], None] | None = None) -> int:
        """Serve until `stop` or a signal; returns the exit code. Every child has ended when this returns.

        `on_settled` is called once every model serves or has failed. Raises ConfigError with the path of a URI that
        leads nowhere, and UsageError for a registry or a cache directory that cannot be used.
        """
        make_undumpable()
        become_subreaper()
        self._watch_signals()
        room = ControlRoom()
        hung_after_s = self.config.health.hung_after_s
        beating = [asyncio.create_task(Heartbeat(hung_after_s).run())] if hung_after_s is not None else []
        try:
            await room.open(self._log)
            self._prepare(room, self._takeover.begin(room))
            if self.draining:
                return 0
            self.publish()
            try:
                async with asyncio.TaskGroup() as tasks:
                    start = tasks.create_task
                    gateways = start(self.gateways.run())
                    serving = [
                        start(self.agent.run()),
                        start(self._notifier.keep_alive()),
                        start(self.sampler.run()),
                        start(self.fleet.run()),
                        start(self._loads.run()),
                        *([start(self.recorder.run())] if self.recorder is not None else []),
                        *([start(self._watch.run())] if self._watch is not None else []),
                        start(self._tell_when_settled(on_settled)),
                    ]
                    self._front.run(self.config, tasks, self._serve_admin)
                    self._begun.set()
                    await self._stop.wait()
                    await self._drain(gateways)
                    if self.recorder is not None and self.gateways.opened:
                        await self.recorder.finish()
                    for task in [*serving, *self._reloading]:
                        task.cancel()
                    self._front.stop()
            except* HeadraceError as group:
                raise _first(group) from None
            return 0
        finally:
            if self.zygotes is not None:
                await self.zygotes.close()
            await room.close()
            for task in beating:
                task.cancel()
            self._front.close()
            if self.audit is not None:
                self.audit.close()

    def stop(self) -> None:
        """Drain and end; a second call ends without draining."""
        if self.draining:
            self._log.warning("stopping without draining")
            self.gateways.kill("a second signal")
            return
        self.draining = True
        self.sampler.wake()
        self._stop.set()

    def publish(self) -> None:
        """Send the present route table to every gateway."""
        self.fleet.settle()
        self._generation += 1
        self.gateways.publish(self._table(self._generation))

    async def drained(self, pool: str) -> None:
        """Wait until no gateway has requests of a pool."""
        await self.gateways.drained(pool)

    def changes(self) -> dict[str, Any]:
        """What a reload has not yet brought into force: see `Fleet.describe`."""
        return self.fleet.describe()

    def own_context(self) -> ssl.SSLContext | None:
        """What to speak to our own data ports with: it trusts their certificate alone; None where they have no TLS."""
        return self._front.security.own_context() if self._front.security is not None else None

    async def samples(self) -> list[Sample]:
        """The sums of the counters of all gateways."""
        return await self.gateways.samples()

    async def past(self, model: str, version: str) -> Figures:
        """The figures of a version of the last 15 minutes, up to now."""
        return await self.sampler.past(model, version)

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Have a pool answer a request as it answers clients. Raises nothing."""
        return await self.gateways.probe(pool, body, within_s)

    def _prepare(self, room: ControlRoom, ties: Ties | None) -> None:
        """Make the parts, each with those that it needs; nothing runs yet. Raises ConfigError."""
        config, environ = self.config, environment.in_workspace(self._environ, self.config.registry)
        home, key = environment.home(config.home, environ), environment.registry_key(config.registry, environ)
        self.audit = open_audit(config, self._log)
        if self.audit is not None:
            self._front.on_keys = self.audit.note_keys
        self.reloads.remember(home, key, self.audit.note_entry if self.audit is not None else None)
        self.agent = RegistryAgent(
            wire_config.registry_agent(config, home, key),
            environ,
            self._log.bind(role="registry"),
            config.registry.timeout_s,
            config.registry.fetch_timeout_s,
            config.health.hung_after_s,
        )
        told = wire_config.recording(config, room.directory, environ)
        if told is not None:
            lifeline_fd = ties.lifeline_fd if ties is not None else None
            log = self._log.bind(role="recorder")
            self.recorder = RecorderProcess(config, told, environ, log, lifeline_fd=lifeline_fd)
        tells_texts = config.log.exceptions == "full"
        self.gateways = Gateways(
            self._front.configures(config, told, ties),
            environ,
            self._log.bind(role="gateway"),
            hung_after_s=config.health.hung_after_s,
            on_news=GatewayNews(self.fleet.everything, self._loads, self._log, tells_texts=tells_texts).heed,
        )
        self._front.open(config, self.gateways)
        self.zygotes = Zygotes(room, Learned(home), self._log)
        maker = ModelMaker(
            home=home,
            registry_key=key,
            config=config,
            agent=self.agent,
            room=room,
            zygotes=self.zygotes,
            traffic=self,
            environ=environ,
            counts=lambda: self.sampler.recent.counts,
            log=self._log,
            audit=self.audit,
        )
        self.fleet.begin(maker, config)

    def _set_up(self) -> None:
        """Apply the settings of the supervisor itself."""
        secret = environment.webhook_secret(self.config.registry.webhook_secret, self._given)
        self.webhooks = Verifier(secret) if secret else None
        if self._level is not None:
            self._level.set(self.config.log.level)

    # What a reload asks for: see `reloading.Running`.

    async def become(self, config: Config, made: Plan) -> None:
        """Run another configuration; `made` is the plan for it. Raises HeadraceError: then nothing has changed."""
        if self.draining:
            raise NotReloaded("headrace is about to end")
        await self._front.change(config, made, self.config)
        self.config = config
        self._set_up()
        self.fleet.become(config)
        self.publish()

    def note(self, name: str, reason: str) -> None:
        """Add to the history of a model that its settings have changed."""
        current = self.models[name].current
        self.models[name].history.add("reloaded", current.label if current else "", reason)

    async def _reload(self, who: str) -> None:
        """Reload after a signal. The result is in the log."""
        await self._begun.wait()
        self._notifier.reloading()
        with contextlib.suppress(HeadraceError):
            await self.reloads.reload(who)
        self._tell_ready()

    def _hang_up(self) -> None:
        """SIGHUP: read the file again; end where there is none, or where the terminal of the start is gone."""
        if self.reloads.file is None or self._on_terminal != _on_terminal():
            self.stop()
        elif not self.draining:
            task = asyncio.get_running_loop().create_task(self._reload("SIGHUP"))
            self._reloading.add(task)
            task.add_done_callback(self._reloading.discard)

    def _table(self, generation: int) -> Table:
        models = self.models.values()
        return Table(
            generation=generation,
            routes=tuple(m.route() for m in models),
            pools=tuple(pool for m in models for pool in m.pools()),
            open=self._takeover.open,
            ready=self.config.health.ready,
            quotas=wire_config.quotas(self.config),
            tools=self.config.mcp.models if self.config.mcp is not None else None,
        )

    def _counted(self) -> None:
        for model in self.models.values():
            model.answers.count(self.sampler.recent.counts)

    async def _serve_admin(self, listener: socket.socket, tls: ServerContext | None) -> None:
        from headrace.supervisor.admin.server import serve_admin  # noqa: PLC0415 - starlette comes after the first workers

        await serve_admin(self, listener, tls)

    async def _tell_when_settled(self, on_settled: Callable[[], None] | None) -> None:
        def settled() -> bool:
            return self.listed and self.gateways.in_force and all(m.settled for m in self.models.values())

        await self.gateways.until(settled)
        if self.draining:
            return
        await self._takeover.complete(self.publish, self.gateways)
        self._tell_ready()
        if on_settled:
            on_settled()

    def _tell_ready(self) -> None:
        ready = sum(m.ready for m in self.models.values())
        problem = f"; not reloaded: {' '.join(self.reloads.problem.split())}" if self.reloads.problem else ""
        self._notifier.ready(f"{ready} of {len(self.models)} models can answer{problem}")

    async def _drain(self, gateways: asyncio.Task[None]) -> None:
        self._notifier.stopping()
        self._log.info("draining", within_s=self.config.gateway.drain_s)
        self.gateways.drain()
        self._front.close(but_admin=True)
        try:
            async with asyncio.timeout(self.config.gateway.drain_s + 2.0):
                await asyncio.shield(gateways)
        except TimeoutError:
            self._log.warning("not everything was finished in time")
            gateways.cancel()
        self._log.info("stopped")

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)


def _first(group: BaseExceptionGroup[HeadraceError]) -> HeadraceError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty exception group")


def _on_terminal() -> bool:
    """Whether the log goes to a terminal that is still open."""
    try:
        return os.isatty(2)
    except OSError:
        return False
