"""The read-only interface of the supervisor for the admin port. Only orders of operators change anything."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from headrace.config.tree import Config
from headrace.core.admin.webhooks import Verifier
from headrace.core.telemetry.totals import Sample
from headrace.keeper.kept import Kept
from headrace.supervisor.admin.sampler import Sampler
from headrace.supervisor.audit import AuditFile
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.processes.recorder import RecorderProcess
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.supervisor.reloading import Reloads
from headrace.supervisor.security.access import AccessRules
from headrace.supervisor.security.certificates import PortCertificate
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.wildcard import Wildcard


class ServerState(Protocol):
    """See `app.Supervisor`, which is one. Times are Unix seconds."""

    @property
    def config(self) -> Config:
        """The present configuration: that of the start, or of the last reload."""

    @property
    def started_s(self) -> float:
        """When it was started."""

    @property
    def kept(self) -> Kept | None:
        """The keeper, which has started this process and would start another; None without one."""

    @property
    def reloads(self) -> Reloads:
        """What reads the configuration file again, and compares it with what runs."""

    @property
    def draining(self) -> bool:
        """Whether headrace takes no more requests and is about to end."""

    @property
    def listed(self) -> bool:
        """Whether the list of models is known."""

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """The models, by the names that they are served by."""

    @property
    def wildcard(self) -> Wildcard | None:
        """Adds the models that the registry lists; None without a wildcard."""

    @property
    def gateways(self) -> Gateways:
        """The processes that answer clients."""

    @property
    def recorder(self) -> RecorderProcess | None:
        """The process that records requests; None where nothing is recorded."""

    @property
    def audit(self) -> AuditFile | None:
        """The audit file; None where none is kept."""

    @property
    def zygotes(self) -> Zygotes | None:
        """The processes that hosts are forked from; None before the start."""

    @property
    def agent(self) -> RegistryAgent:
        """The process that asks the registry."""

    @property
    def sampler(self) -> Sampler:
        """The counters of the last minutes."""

    @property
    def webhooks(self) -> Verifier | None:
        """What checks the signatures of the registry's webhooks; None where none are accepted."""

    @property
    def certificates(self) -> Sequence[PortCertificate]:
        """The certificates of the ports with TLS."""

    @property
    def access(self) -> AccessRules | None:
        """The access rules; None: every caller may do everything."""

    def changes(self) -> dict[str, Any]:
        """The settings of a reload that are not in force yet: see `Fleet.describe`."""

    def own_context(self) -> ssl.SSLContext | None:
        """What to speak to our own data ports with: it trusts their certificate alone; None where they have no TLS."""

    def address(self, name: str | None) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served; None if it has no port of its own."""

    async def samples(self) -> list[Sample]:
        """The sums of the counters of all gateways."""
