"""Adapts the number of replicas to the load. Adds up what gateways report; `core.processes.scaling` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from headrace.core.processes.scaling import Load
from headrace.core.protocol.messages import PoolLoad
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.served_model import ServedModel
from headrace.telemetry.logs import Log

_LOOK_S = 0.5
_HOLDS_S = 2.0
"""A gateway that has anything to do says so twice a second: one that has not for so long has nothing, or is gone."""


class LoadWatch:
    """Adapts the replicas of models that follow their load. `models` gives all models that have processes."""

    def __init__(self, models: Callable[[], Iterable[ServedModel]], log: Log) -> None:
        self._models = models
        self._log = log
        self._followed: dict[str, Version] = {}
        self._reports: dict[str, dict[int, tuple[float, PoolLoad]]] = {}

    def heed(self, report: PoolLoad) -> None:
        """Take the load that a gateway reports for one pool. A version that sleeps is woken at once."""
        now_s = clock.now_s()
        self._reports.setdefault(report.pool, {})[report.gateway] = now_s, report
        version = self._followed.get(report.pool)
        if report.asked and version is not None and version.scaling.wanted == 0 and version.can_answer:
            self._follow(version, now_s)

    async def run(self) -> None:
        """Adapt twice a second until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look(clock.now_s())

    def look(self, now_s: float) -> None:
        """Give each version as many replicas as it needs now."""
        here: dict[str, Version] = {}
        for model in self._models():
            for version in model.versions:
                if version.scaling.bounds.follows and version.can_answer:
                    here[version.key] = version
                    self._follow(version, now_s)
        self._followed = here
        for key in self._reports.keys() - here.keys():
            del self._reports[key]

    def _follow(self, version: Version, now_s: float) -> None:
        scaling = version.scaling
        was = scaling.wanted
        if version.follow(self._load(version, now_s), now_s):
            told = {"model": version.model, "version": version.label, "replicas": scaling.wanted, "was": was}
            self._log.info("follows the load", **told, reason=scaling.why)

    def _load(self, version: Version, now_s: float) -> Load:
        """The load of a version over all gateways."""
        reports = self._reports.get(version.key, {})
        for gateway in [gateway for gateway, (at_s, _) in reports.items() if at_s < now_s - _HOLDS_S]:
            del reports[gateway]
        told = [report for _, report in reports.values()]
        return Load(
            asked=sum(one.asked for one in told),
            wait_s=max((one.wait_s for one in told), default=0.0),
            busy=sum(one.busy for one in told),
        )
