"""Sends the version that serves a prediction request at intervals, so that 'ready' means 'it can predict'."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from headrace.config.tree import Probe
from headrace.core.processes.health import Health
from headrace.core.protocol.messages import Probed
from headrace.core.telemetry.tallies import Tallies
from headrace.supervisor.rollout.checks import example_of
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.spreading import spread_s
from headrace.telemetry.logs import Log


class Asking(Protocol):
    """The part of the gateways that a probe needs."""

    async def probe(self, pool: str, body: bytes, within_s: float) -> Probed:
        """Send a request to a pool. Raises nothing."""


class Prober:
    """The owner of one model's health. `on_change` is called when the model turns unwell, or well again.

    Only the version that serves is probed: a canary must not make the model unready.
    """

    def __init__(self, config: Probe, traffic: Asking, log: Log, on_change: Callable[[], None]) -> None:
        self._config = config
        self._traffic = traffic
        self._log = log
        self._on_change = on_change
        self._health = Health(config.failures, config.successes)
        self._body = msgspec.json.encode(config.request) if config.request is not None else None
        self._of: str | None = None
        self._last: dict[str, Any] | None = None
        self.counts = Tallies()

    @property
    def unwell(self) -> str:
        """Why the model cannot predict, in one line; empty while it can."""
        return self._health.reason

    def flipped(self) -> None:
        """Reset: another version serves, which has passed its checks."""
        was_unwell = not self._health.well
        self._health.forget()
        self._last = None
        if was_unwell:
            self._on_change()

    async def run(self, serving: Callable[[], Version | None]) -> None:
        """Probe every `every_s` seconds until cancelled."""
        while True:
            await asyncio.sleep(spread_s(self._config.every_s))
            version = serving()
            if version is None or not version.ready:
                continue
            body = self._body or await self._example(version)
            if body is not None:
                await self._ask(version, body, serving)

    async def _ask(self, version: Version, body: bytes, serving: Callable[[], Version | None]) -> None:
        answer = await self._traffic.probe(version.key, body, self._config.timeout_s)
        if serving() is not version:
            return
        if not answer.asked:
            return  # every worker is at work for others: whoever hangs there is found out by its own request's time-out
        passed = answer.status == 200
        self.counts.add(version.label, "passed" if passed else "failed")
        self._last = {
            "at": time.time(),
            "status": answer.status,
            "took_s": round(answer.took_s, 4),
            "reason": answer.reason or None,
        }
        failure = None if passed else f"a probe was answered with {answer.status}: {answer.reason}"
        if self._health.saw(failure):
            if passed:
                self._log.info("well again", version=version.label)
            else:
                self._log.error("unwell", version=version.label, reason=failure, probes=self._health.failed)
            self._on_change()

    async def _example(self, version: Version) -> bytes | None:
        """The version's own example; told once where it has none."""
        body = await asyncio.to_thread(example_of, version.stored.path) if version.stored else None
        if body is None and self._of != version.key:
            self._log.warning("not probed", version=version.label, reason="no input example: set probe.request")
        self._of = version.key
        return body

    def describe(self) -> dict[str, Any]:
        """The health as data."""
        return {"well": self._health.well, "failed_in_a_row": self._health.failed, "last": self._last}
