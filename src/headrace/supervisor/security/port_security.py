"""What the ports show, and who may use them, as one configuration says it: certificates, keys and grants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from headrace.config import environment
from headrace.config.tree import Config
from headrace.core.protocol.messages import Certificate
from headrace.core.security.access import Access
from headrace.security.contexts import ServerContext
from headrace.supervisor.security.access import AccessRules
from headrace.supervisor.security.certificates import PortCertificate
from headrace.telemetry.logs import Log


class PortSecurity:
    """`load` reads the files, `run` follows them. `certificate` and `access` are the newest that hold for data ports.

    `on_certificate` and `on_access` are told of each, but not before `begin`, `on_keys` of keys that come and go.
    `certificates` are those of all ports, `rules` (None: everybody may do everything) decide on the admin port,
    which shows `admin_tls` (None: plain HTTP).
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        on_certificate: Callable[[Certificate], None],
        on_access: Callable[[Access], None],
        on_keys: Callable[[Mapping[str, list[str]]], None],
        *,
        data_ports: bool,
    ) -> None:
        self.certificate: Certificate | None = None
        self.access: Access | None = None
        self.admin_tls: ServerContext | None = None
        self.certificates: list[PortCertificate] = []
        auth, home = config.auth, environment.home(config.home)
        self.rules = AccessRules(auth, log, self._judge_by, on_keys, home) if auth is not None else None
        self._on_certificate = on_certificate
        self._on_access = on_access
        self._begun = False
        self._config = config
        tls, admin_tls = config.tls, config.admin_tls
        if tls is not None and data_ports:
            self.certificates.append(PortCertificate(tls, "tls", log, self._show))
        if admin_tls is not None and admin_tls is not tls:
            self.certificates.append(PortCertificate(admin_tls, "admin.tls", log, self._show_admin))

    @property
    def refused(self) -> Mapping[str, int]:
        """How many requests the admin port has refused, by why."""
        return self.rules.refused if self.rules is not None else {}

    def load(self) -> None:
        """Read all files for the first time; raises ConfigError with the one that is wrong."""
        for one in self.certificates:
            one.load()
        if self.rules is not None:
            self.rules.load()

    def begin(self) -> None:
        """Tell what holds, now and whenever it changes."""
        self._begun = True
        if self.certificate is not None:
            self._on_certificate(self.certificate)
        if self.access is not None:
            self._on_access(self.access)

    async def run(self) -> None:
        """Follow the files until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.certificates:
                tasks.create_task(one.run())
            if self.rules is not None:
                tasks.create_task(self.rules.run())

    def own_context(self) -> ssl.SSLContext | None:
        """What to speak to our own data ports with: it trusts their certificate alone; None where they have no TLS."""
        return self.certificates[0].pinned() if self._config.tls is not None and self.certificates else None

    def _show(self, certificate: Certificate) -> None:
        self.certificate = certificate
        if self._begun:
            self._on_certificate(certificate)
        if self._config.admin_tls is self._config.tls:
            self._show_admin(certificate)

    def _show_admin(self, certificate: Certificate) -> None:
        if self.admin_tls is None:
            self.admin_tls = ServerContext()
        self.admin_tls.show(certificate)

    def _judge_by(self, access: Access) -> None:
        self.access = access
        if self._begun:
            self._on_access(access)
