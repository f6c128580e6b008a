"""What every track works with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.core.messages import Probed
from headrace.core.recent import Figures
from headrace.core.totals import Sample
from headrace.environments.preparing import Environments
from headrace.registry.store import Store
from headrace.supervisor.agent import RegistryAgent
from headrace.supervisor.control import ControlRoom


class Traffic(Protocol):
    """What a model needs of the gateways."""

    def publish(self) -> None:
        """Send every model's current route to all gateways."""

    async def drained(self, pool: str) -> None:
        """Wait until nothing of a pool, taken out of the table before, is in any gateway."""

    async def samples(self) -> list[Sample]:
        """Every gateway's counters."""

    async def past(self, model: str, version: str) -> Figures:
        """What a version did in the last 15 minutes, up to now."""

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Have a pool answer as if a client asked; raises nothing."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """One for each supervisor but for `environ`, `kept_back` and `options`, which are a model's.

    `poll_s` None: the registry is asked at the start and by `refresh` only. `hung_after_s` None: nobody is watched.
    """

    agent: RegistryAgent
    store: Store
    environments: Environments
    room: ControlRoom
    traffic: Traffic
    bring_up: asyncio.Semaphore
    environ: Mapping[str, str]
    kept_back: frozenset[str]
    options: Mapping[str, Any]
    poll_s: float | None
    hung_after_s: float | None
