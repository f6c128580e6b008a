"""The supervisor: owns the configuration, the listening sockets, every child process, and the route table.

It never imports mlflow or pandas, never runs model code, and never blocks its event loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping

from headrace.config import environment
from headrace.config.secrecy import make_undumpable
from headrace.config.tree import Config, Model
from headrace.core.admin.webhooks import Verifier
from headrace.core.errors import ConfigError, HeadraceError
from headrace.core.identity import parse_model_uri
from headrace.core.processes import inheriting
from headrace.core.protocol.messages import (
    Certificate,
    Configure,
    Listener,
    Probed,
    Table,
)
from headrace.core.telemetry.recent import Figures
from headrace.core.telemetry.totals import Sample
from headrace.environments.preparing import Environments
from headrace.registry.store import Store
from headrace.security.contexts import ServerContext
from headrace.supervisor import wire_config
from headrace.supervisor.access import AccessRules
from headrace.supervisor.admin.sampler import Sampler
from headrace.supervisor.anonymous import anonymous_ports, is_loopback
from headrace.supervisor.certificates import PortCertificate
from headrace.supervisor.gateway_news import GatewayNews
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.processes.liveness import Heartbeat
from headrace.supervisor.processes.recorder import RecorderProcess
from headrace.supervisor.processes.sockets import listen
from headrace.supervisor.processes.systemd import Notifier
from headrace.supervisor.processes.worker_control import ControlRoom
from headrace.supervisor.processes.worker_environ import worker_environ
from headrace.supervisor.processes.workers import Workers
from headrace.supervisor.rollout.dependencies import Dependencies
from headrace.supervisor.rollout.history import History
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.wildcard import Wildcard
from headrace.telemetry.logs import Log

_PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """One running headrace. `bind` takes the ports, `run` serves until it is told to stop."""

    def __init__(self, config: Config, log: Log, environ: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.started_s = time.time()
        self.draining = False
        self.models: dict[str, ServedModel] = {}
        self.wildcard: Wildcard | None = None
        self.gateways: Gateways
        self.recorder: RecorderProcess | None = None
        self.agent: RegistryAgent
        self.sampler = Sampler(self.samples, log, self._counted)
        environ = os.environ if environ is None else environ
        secret = environment.webhook_secret(config.registry.webhook_secret, environ)
        self.webhooks = Verifier(secret) if secret else None
        self.certificates: list[PortCertificate] = []
        self.admin_tls: ServerContext | None = None
        self.access: AccessRules | None = None
        self._log = log
        self._environ = environment.for_children(environ)
        self._notifier = Notifier(environment.systemd(environ))
        self._listeners: dict[str | None, list[socket.socket]] = {}
        self._admin_socket: socket.socket | None = None
        self._generation = 0
        self._stop = asyncio.Event()

    def bind(self) -> None:
        """Take every port, or none: raises ConfigError with the path of the one that cannot be had."""
        config = self.config
        copies = config.gateway.processes
        try:
            for name, model in config.models.items():
                if model.port is not None:
                    path, host = f"models.{name}.port", model.host or config.gateway.host
                    self._listeners[name] = listen(host, model.port, path, copies=copies)
            if config.gateway.port is not None:
                port = config.gateway.port
                self._listeners[None] = listen(config.gateway.host, port, "gateway.port", copies=copies)
            if config.admin:
                self._admin_socket = listen(config.admin.host, config.admin.port, "admin.port")[0]
        except ConfigError:
            self._close_sockets()
            raise

    def address(self, name: str | None) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served; None if it has no port of its own."""
        if name not in self._listeners:
            return None
        host, port = self._listeners[name][0].getsockname()[:2]
        return host, port

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Where the admin port is."""
        return self._admin_socket.getsockname()[:2] if self._admin_socket else None

    @property
    def listed(self) -> bool:
        """Whether it is known which models there are: always, but for a wildcard that has not yet been looked up."""
        return self.wildcard is None or self.wildcard.listed

    async def run(self, on_settled: Callable[[], None] | None = None) -> int:
        """Serve until `stop` or a signal; returns the exit code. Every child has ended when this returns.

        `on_settled` is called once every model serves or has failed. Raises ConfigError with the path of a URI that
        leads nowhere, and UsageError for a registry or a cache directory that cannot be used.
        """
        make_undumpable()
        _become_subreaper()
        self._watch_signals()
        room = ControlRoom()
        try:
            await room.open(self._log)
            self._prepare(room)
            if self.draining:
                return 0
            self.publish()
            try:
                async with asyncio.TaskGroup() as tasks:
                    serving = [
                        tasks.create_task(self.agent.run()),
                        tasks.create_task(self._notifier.keep_alive()),
                        tasks.create_task(self.sampler.run()),
                        *(tasks.create_task(m.run()) for m in self.models.values()),
                        *(tasks.create_task(c.run()) for c in self.certificates),
                        *([tasks.create_task(self.access.run())] if self.access is not None else []),
                    ]
                    if self.wildcard is not None:
                        serving.append(tasks.create_task(self.wildcard.run()))
                    gateways = tasks.create_task(self.gateways.run())
                    if self.recorder is not None:
                        serving.append(tasks.create_task(self.recorder.run()))
                    if self.config.health.hung_after_s is not None:
                        serving.append(tasks.create_task(Heartbeat(self.config.health.hung_after_s).run()))
                    if self._admin_socket:
                        serving.append(tasks.create_task(self._administrate(self._admin_socket)))
                    serving.append(tasks.create_task(self._tell_when_settled(on_settled)))
                    await self._stop.wait()
                    await self._drain(gateways)
                    if self.recorder is not None and self.gateways.opened:
                        await self.recorder.finish()
                    for task in serving:
                        task.cancel()
            except* HeadraceError as group:
                raise _first(group) from None
            return 0
        finally:
            await room.close()
            self._close_sockets()

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
        """Send the whole route table, as it is now, to every gateway."""
        self._generation += 1
        self.gateways.publish(self._table(self._generation))

    async def drained(self, pool: str) -> None:
        """Wait until nothing of a pool is in any gateway."""
        await self.gateways.drained(pool)

    def own_context(self) -> ssl.SSLContext | None:
        """What to speak to our own data ports with: it trusts their certificate alone; None where they have no TLS."""
        return self.certificates[0].pinned() if self.config.tls is not None and self.certificates else None

    async def samples(self) -> list[Sample]:
        """What the gateways have counted, added up."""
        return await self.gateways.samples()

    async def past(self, model: str, version: str) -> Figures:
        """What a version did in the last 15 minutes, up to now."""
        return await self.sampler.past(model, version)

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Have a pool answer as if a client asked; raises nothing."""
        return await self.gateways.probe(pool, body, within_s)

    def _prepare(self, room: ControlRoom) -> None:
        config, environ = self.config, self._environ
        tracking = config.registry.tracking_uri
        registry = config.registry.registry_uri
        key = registry or tracking or environ.get("MLFLOW_REGISTRY_URI") or environ.get("MLFLOW_TRACKING_URI") or ""
        home = environment.home(config.home, environ)
        store = Store(home, key)
        environments = Environments(home, config.environments, environ)
        self._tell_kept_back()
        settings = {
            "home": str(home),
            "registry_key": key,
            "tracking_uri": tracking,
            "registry_uri": registry,
            "timeout_s": config.registry.timeout_s,
            # Import MLflow at once, or not before something needs it: directories do not.
            "warm": any(
                parse_model_uri(m.uri).directory is None for m in (*config.models.values(), config.wildcard) if m
            ),
        }
        hung_after_s = config.health.hung_after_s
        agent_log = self._log.bind(role="registry")
        self.agent = RegistryAgent(
            settings, environ, agent_log, config.registry.timeout_s, config.registry.fetch_timeout_s, hung_after_s
        )
        limits, tls = wire_config.limits(config), config.tls is not None
        told = wire_config.recording(config, room.directory, environ)
        if told is not None:
            self.recorder = RecorderProcess(config, told, environ, self._log.bind(role="recorder"))
        self.gateways = Gateways(
            [
                Configure(
                    index=index,
                    listeners=tuple(
                        Listener(s[index].fileno(), name, tls, is_loopback(s[index].getsockname()[0]))
                        for name, s in self._listeners.items()
                    ),
                    limits=limits,
                    drain_s=config.gateway.drain_s,
                    recording=told,
                    pages=wire_config.pages(config),
                    guarded=config.auth is not None,
                )
                for index in range(config.gateway.processes)
            ],
            environ,
            self._log.bind(role="gateway"),
            hung_after_s=hung_after_s,
            on_news=GatewayNews(self.models, self._log, tells_texts=config.log.exceptions == "full").heed,
        )
        self._load_security()
        bring_up = asyncio.Semaphore(config.bring_up_at_once or sys.maxsize)

        def make(name: str, model: Model, *, lenient: bool = False, poll_s: float | None) -> ServedModel:
            dependencies = Dependencies(
                registry=self.agent,
                store=store,
                environments=environments,
                make_processes=lambda spec, log, on_change, ended, again: Workers(
                    spec, room, log, on_change, ended, again
                ),
                traffic=self,
                bring_up=bring_up,
                environ=worker_environ(environ, model, tracking),
                kept_back=inheriting.kept_back(environ, model.pass_env),
                options=wire_config.worker_options(config, model),
                poll_s=poll_s,
                hung_after_s=hung_after_s,
            )
            history = History(home, key, model.uri, name)
            errors_mode = (model.errors or config.errors).mode
            canary_poll_s = config.registry.poll_s
            return ServedModel(
                name,
                model,
                dependencies,
                history,
                errors_mode,
                self._log,
                canary_poll_s=canary_poll_s,
                failing=config.health.failing,
                tells_texts=config.log.exceptions == "full",
                counts=lambda: self.sampler.recent.counts,
                lenient=lenient,
            )

        poll_s = config.registry.poll_s
        for name, model in config.models.items():
            self.models[name] = make(name, model, poll_s=poll_s)
        if config.wildcard is not None:
            self.wildcard = Wildcard(
                config.wildcard,
                self.agent,
                store,
                poll_s,
                self.models,
                # The list says which of them have moved: only those are asked for.
                lambda name, model: make(name, model, lenient=True, poll_s=None),
                self.publish,
                self._log,
            )

    def _load_security(self) -> None:
        """Read what the ports show, and who may use them. Raises ConfigError with the file that is wrong."""
        tls, admin_tls = self.config.tls, self.config.admin_tls
        if tls is not None and self._listeners:
            self.certificates.append(PortCertificate(tls, "tls", self._log, self._show))
        if admin_tls is not None and admin_tls is not tls:
            self.certificates.append(PortCertificate(admin_tls, "admin.tls", self._log, self._show_admin))
        for one in self.certificates:
            one.load()
        if self.config.auth is not None:
            self.access = AccessRules(self.config.auth, self._log, self.gateways.admit_by)
            self.access.load()
        for warning in anonymous_ports(self.config):
            self._log.warning("anonymous", warning=warning)

    def _show(self, certificate: Certificate) -> None:
        self.gateways.show(certificate)
        if self.config.admin_tls is self.config.tls:
            self._show_admin(certificate)

    def _show_admin(self, certificate: Certificate) -> None:
        if self.admin_tls is None:
            self.admin_tls = ServerContext()
        self.admin_tls.show(certificate)

    def _tell_kept_back(self) -> None:
        models = [m for m in (*self.config.models.values(), self.config.wildcard) if m is not None]
        kept = [inheriting.kept_back(self._environ, model.pass_env) for model in models]
        names = inheriting.worth_telling(frozenset.union(*kept)) if kept else []
        if names:
            self._log.info("variables kept from models", names=names, hand_on="by pass_env, or by env")

    def _table(self, generation: int) -> Table:
        models = self.models.values()
        return Table(
            generation=generation,
            routes=tuple(m.route() for m in models),
            pools=tuple(pool for m in models for pool in m.pools()),
            ready=self.config.health.ready,
            quotas=wire_config.quotas(self.config),
        )

    def _counted(self) -> None:
        for model in self.models.values():
            model.answers.count(self.sampler.recent.counts)

    async def _administrate(self, listener: socket.socket) -> None:
        from headrace.supervisor.admin.server import serve_admin  # noqa: PLC0415 - starlette comes after the first workers

        await serve_admin(self, listener, self.admin_tls)

    async def _tell_when_settled(self, on_settled: Callable[[], None] | None) -> None:
        def settled() -> bool:
            return self.listed and self.gateways.in_force and all(m.settled for m in self.models.values())

        await self.gateways.until(settled)
        if self.draining:
            return
        ready = sum(m.ready for m in self.models.values())
        self._notifier.ready(f"{ready} of {len(self.models)} models can answer")
        if on_settled:
            on_settled()

    async def _drain(self, gateways: asyncio.Task[None]) -> None:
        self._notifier.stopping()
        self._log.info("draining", within_s=self.config.gateway.drain_s)
        self.gateways.drain()
        # Ours as well: while any process holds a port, who comes waits in it unheard, and is cut off at the end.
        self._close_listeners()
        try:
            async with asyncio.timeout(self.config.gateway.drain_s + 2.0):
                await asyncio.shield(gateways)
        except TimeoutError:
            self._log.warning("not everything was finished in time")
            gateways.cancel()
        self._log.info("stopped")

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)

    def _close_listeners(self) -> None:
        for sockets in self._listeners.values():
            for one in sockets:
                one.close()
        self._listeners.clear()

    def _close_sockets(self) -> None:
        self._close_listeners()
        if self._admin_socket:
            self._admin_socket.close()


def _first(group: BaseExceptionGroup[HeadraceError]) -> HeadraceError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty exception group")


def _become_subreaper() -> None:
    """Have orphans of our hosts (the replicas they forked) become our children. Linux only; elsewhere init's."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
