"""The interfaces that a rollout needs: processes, registry, cache, environments and gateways.

Tests of a rollout put plain objects in their place; `app` gives the real ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headrace.core.identity import Resolved
from headrace.core.processes.restart import Restarts
from headrace.core.protocol.messages import Probed, WorkerRef
from headrace.core.protocol.raised import Raised
from headrace.core.telemetry.recent import Figures
from headrace.core.telemetry.totals import Sample
from headrace.environments.preparing import Prepared
from headrace.registry.messages import Stored
from headrace.supervisor.processes.compiled_states import CompiledStates
from headrace.supervisor.processes.worker_process import EndReason, WorkerSpec
from headrace.supervisor.rollout.turns import Turns
from headrace.telemetry.logs import Log


class Traffic(Protocol):
    """The gateways."""

    def publish(self) -> None:
        """Send every model's current route to all gateways."""

    async def drained(self, pool: str) -> None:
        """Wait until no gateway has requests of a pool that was taken out of the table."""

    async def samples(self) -> list[Sample]:
        """Every gateway's counters."""

    async def past(self, model: str, version: str) -> Figures:
        """What a version did in the last 15 minutes, up to now."""

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Have a pool answer a request as it answers clients. Raises nothing."""


class Registry(Protocol):
    """The registry agent. All raise ModelNotFound, UsageError or RegistryError."""

    async def resolve(self, uri: str, *, patient: bool = False) -> Resolved:
        """What `uri` points at now."""

    async def promote(self, name: str, alias: str, version: str) -> str | None:
        """Have an alias point at a version; returns what it pointed at before."""

    async def fetch(self, resolved: Resolved) -> Stored:
        """Bring a version's artifacts into the store."""


class ModelStore(Protocol):
    """The cache of artifacts. Its methods read files: call them in a thread."""

    def last(self, uri: str) -> Resolved | None:
        """The version that `uri` pointed to last."""

    def find(self, resolved: Resolved) -> Stored | None:
        """The artifacts of a version; None if they are not complete."""

    def is_whole(self, stored: Stored) -> bool:
        """Whether the files of a version are unchanged since they were fetched."""


class EnvironmentMaker(Protocol):
    """Python environments for models."""

    async def prepare(self, model: Path, kind: Any, mismatch: Any, log: Log) -> Prepared:
        """Have an environment ready for the model in a directory; raises HeadraceError."""

    def release(self, prepared: Prepared) -> None:
        """It is not used any more."""


class Processes(Protocol):
    """The processes of one version: see `workers.Workers`."""

    spec: WorkerSpec
    facts: dict[str, Any]
    warm_up: dict[str, Any]
    raised: tuple[Raised, ...]
    failure: str | None
    failure_detail: str
    trouble: str
    proven: bool
    compiled: CompiledStates
    load_s: float | None
    restarts: Restarts

    @property
    def ready(self) -> tuple[WorkerRef, ...]:
        """The replicas that can be given requests."""

    @property
    def processes(self) -> list[dict[str, Any]]:
        """Every process as data."""

    @property
    def zygote(self) -> dict[str, Any] | None:
        """What its hosts are forked from, as data."""

    def scale(self, replicas: int) -> None:
        """Have so many replicas."""

    def load(self, path: str, prepared: Prepared, *, verified: bool) -> None:
        """Load the model in a directory, in an environment."""

    async def run(self) -> None:
        """Keep them running until cancelled or failed for good."""

    def kill(self, replica_id: str, why: str, end: EndReason) -> None:
        """Kill one replica."""

    def cut_off(self, replica_id: str) -> None:
        """A gateway's connection to a replica has ended."""


MakeProcesses = Callable[
    [WorkerSpec, Log, Callable[[], None], dict[EndReason, int], Callable[[], Awaitable[str]]], Processes
]
"""Makes the processes of a version: the arguments of `workers.Workers`, but for the control room."""


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """One for each supervisor but for `environ`, `kept_back`, `options` and `share_imports`, which are a model's.

    `poll_s` None: the registry is asked at the start and by `refresh` only. `hung_after_s` None: nobody is watched.
    """

    registry: Registry
    store: ModelStore
    environments: EnvironmentMaker
    make_processes: MakeProcesses
    traffic: Traffic
    turns: Turns
    environ: Mapping[str, str]
    kept_back: frozenset[str]
    options: Mapping[str, Any]
    share_imports: bool
    poll_s: float | None
    hung_after_s: float | None
