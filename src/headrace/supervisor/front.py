"""The ports, their certificates and access rules, and the gateways behind them.

One configuration after another is made so (`change`), or leaves everything as it is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from msgspec import structs

from headrace.config.changes import Plan
from headrace.config.tree import Config
from headrace.core.errors import HeadraceError
from headrace.core.protocol.messages import Configure, Recording, Ties
from headrace.keeper.kept import Kept
from headrace.security.contexts import ServerContext
from headrace.supervisor import wire_config
from headrace.supervisor.admin.server import FOLLOWED
from headrace.supervisor.ports import ADMIN, Ports
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.security.anonymous import anonymous_ports
from headrace.supervisor.security.port_security import PortSecurity
from headrace.supervisor.spreading import spread_s
from headrace.telemetry.logs import Log

ServeAdmin = Callable[[socket.socket, ServerContext | None], Awaitable[None]]


class Front:
    """`bind`, `open`, `run`, in this order. `security` is there from `open` on.

    `on_keys` is told which keys have come and gone. It is set before `open`.
    """

    def __init__(self, log: Log, kept: Kept | None = None) -> None:
        """`kept`: the keeper, which holds the sockets, too, and may have held them for a supervisor before this one."""
        self.ports = Ports.kept(kept.sockets if kept is not None else {})
        self.security: PortSecurity | None = None
        self._log = log
        self._kept = kept
        self._ties: Ties | None = None
        self.on_keys: Callable[[Mapping[str, list[str]]], None] = lambda _: None
        self._recording: Recording | None = None
        self._gateways: Gateways
        self._serve_admin: ServeAdmin
        self._tasks: asyncio.TaskGroup
        self._turn = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._administrating: asyncio.Task[None] | None = None

    def bind(self, config: Config) -> None:
        """Take every port, or none: raises ConfigError with the path of the one that cannot be had."""
        self._have(self.ports.of(config), config)

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Where the admin port is."""
        return self.ports.address(ADMIN)

    def configures(self, config: Config, recording: Recording | None, ties: Ties | None) -> list[Configure]:
        """The first message to each gateway; the recording and the ties hold for later gateways, too."""
        self._recording, self._ties = recording, ties
        return self._configures(config, self.ports)

    def open(self, config: Config, gateways: Gateways) -> None:
        """Read what the ports show, and who may use them. Raises ConfigError with the file that is wrong."""
        self._gateways = gateways
        gateways.on_keys_wanted = self._want_keys
        self.security = self._secured(config, self.ports)
        self.security.begin()

    def run(self, config: Config, tasks: asyncio.TaskGroup, serve_admin: ServeAdmin) -> None:
        """Follow the files, have the admin port served by `serve_admin`, renew gateways: each in a task of its own."""
        self._tasks, self._serve_admin = tasks, serve_admin
        self._follow()
        self._renewing = self._tasks.create_task(self._renew(config))

    async def change(self, config: Config, made: Plan, before: Config) -> None:
        """Have another configuration; `made` leads to it from `before`. Raises HeadraceError: nothing has changed."""
        async with self._turn:
            await self._change(config, made, before)

    async def _change(self, config: Config, made: Plan, before: Config) -> None:
        ports, security = self.ports.of(config), self.security
        try:
            renewed = made.touches("tls") or made.touches("auth") or made.touches("admin")
            if renewed or security is None or ports.any_data != self.ports.any_data:
                security = self._secured(config, ports)
            if made.moves_gateways:
                configures = self._configures(config, ports)
                await self._gateways.replace(configures, security.certificate, security.access, longest_s(before))
        except BaseException:
            ports.close_but(self.ports)
            raise
        self._have(ports, config)
        if made.moves_gateways:
            if self._renewing is not None:
                self._renewing.cancel()
            self._renewing = self._tasks.create_task(self._renew(config))
        if security is not self.security:
            self.security = security
            security.begin()
            self._follow()

    def stop(self) -> None:
        """Stop following files, answering operators and renewing gateways."""
        for task in (self._following, self._administrating, self._renewing):
            if task is not None:
                task.cancel()

    def close(self, *, but_admin: bool = False) -> None:
        """Close all ports: while a process holds one, clients that connect wait in it and are cut off at its end."""
        if but_admin:
            self.ports.close_data()
        else:
            self.ports.close()
        if self._kept is not None:
            self._kept.hold(self.ports.named())

    def _have(self, ports: Ports, config: Config) -> None:
        self.ports.close_but(ports)
        self.ports = ports
        if self._kept is not None:
            self._kept.hold(ports.named(), longest_s(config))

    async def _administrate(self, listener: socket.socket, tls: ServerContext | None) -> None:
        # A socket of its own, which is closed in the end: whoever serves the port next goes on with the other.
        with listener.dup() as own:
            await self._serve_admin(own, tls)

    async def _renew(self, config: Config) -> None:
        """Replace gateways that are older than `gateway.max_age_s`."""
        age_s = config.gateway.max_age_s
        while age_s is not None:
            await asyncio.sleep(spread_s(age_s))
            async with self._turn:
                security, configures = self.security, self._configures(config, self.ports)
                certificate, access = (security.certificate, security.access) if security is not None else (None, None)
                try:
                    await self._gateways.replace(configures, certificate, access, longest_s(config))
                except HeadraceError as error:
                    self._log.error("gateways not renewed", reason=str(error), kept="those that run")
                else:
                    self._log.info("gateways renewed", pids=self._gateways.pids)

    def _configures(self, config: Config, ports: Ports) -> list[Configure]:
        limits, pages, count = wire_config.limits(config), wire_config.pages(config), config.gateway.processes
        ties = structs.replace(self._ties, within_s=longest_s(config)) if self._ties is not None else None
        return [
            Configure(
                index=index,
                listeners=ports.listeners(index, count, tls=config.tls is not None),
                limits=limits,
                drain_s=config.gateway.drain_s,
                recording=self._recording,
                pages=pages,
                ties=ties,
                guarded=config.auth is not None,
            )
            for index in range(count)
        ]

    def _secured(self, config: Config, ports: Ports) -> PortSecurity:
        gateways = self._gateways
        made = PortSecurity(
            config, self._log, gateways.show, gateways.admit_by, self.on_keys, data_ports=ports.any_data
        )
        made.load()
        for warning in anonymous_ports(config):
            self._log.warning("anonymous", warning=warning)
        return made

    def _want_keys(self, issuer: str) -> None:
        if self.security is not None and self.security.rules is not None:
            self.security.rules.want_keys(issuer)

    def _follow(self) -> None:
        """Follow the present files and serve the present admin port. Answers under way are completed."""
        for task in (self._following, self._administrating):
            if task is not None:
                task.cancel(FOLLOWED)
        security, admin = self.security, self.ports.admin
        if security is not None:
            self._following = self._tasks.create_task(security.run())
            if admin is not None:
                self._administrating = self._tasks.create_task(self._administrate(admin, security.admin_tls))


def longest_s(config: Config) -> float:
    """The longest time of a request in seconds: a gateway that was replaced has this time to finish."""
    models = [*config.models.values(), *([config.wildcard] if config.wildcard is not None else [])]
    return max(config.gateway.drain_s, config.gateway.max_stream_s or 0.0, *(model.timeout_s for model in models))
