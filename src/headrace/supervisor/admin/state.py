"""What the admin side may see of a running headrace: everything, and change nothing but by what operators ask for."""

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
        """The configuration that it has now: that of the start, or of the last reload."""

    @property
    def started_s(self) -> float:
        """When it was started."""

    @property
    def kept(self) -> Kept | None:
        """The process that has started this one, and would start another; None where nothing would."""

    @property
    def reloads(self) -> Reloads:
        """What reads the configuration file again, and compares it with what runs."""

    @property
    def draining(self) -> bool:
        """Whether it takes no more requests, and is about to end."""

    @property
    def listed(self) -> bool:
        """Whether it is known which models there are."""

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """The models, by the names that they are served by."""

    @property
    def wildcard(self) -> Wildcard | None:
        """What adds models that the registry lists; None where nothing does."""

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
        """The last minutes of what was counted."""

    @property
    def webhooks(self) -> Verifier | None:
        """What checks the signatures of the registry's webhooks; None where none are accepted."""

    @property
    def certificates(self) -> Sequence[PortCertificate]:
        """The certificates of the ports with TLS."""

    @property
    def access(self) -> AccessRules | None:
        """Who may do what; None: everybody may do everything."""

    def changes(self) -> dict[str, Any]:
        """What a reload has not yet brought into force: see `Fleet.describe`."""

    def own_context(self) -> ssl.SSLContext | None:
        """What to speak to our own data ports with: it trusts their certificate alone; None where they have no TLS."""

    def address(self, name: str | None) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served; None if it has no port of its own."""

    async def samples(self) -> list[Sample]:
        """What the gateways have counted, added up."""
