"""The canary and shadow aliases of a served model. Each is followed in its own task, and may be added and removed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from headrace.config.traffic import other_aliases
from headrace.config.tree import Model
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.canary import CanaryPolicy, Neighbours
from headrace.supervisor.rollout.dependencies import Dependencies
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.leaving import drain, end_task
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log


class Canaries:
    """`by_alias` are those that have a part in the traffic; `going` are versions of those that had, and finish.

    The registry is asked for each every `poll_s`. What happens to one does not affect the others or `main`.
    """

    def __init__(
        self, model: str, main: AliasRollout, dependencies: Dependencies, history: History, log: Log, poll_s: float
    ) -> None:
        self.by_alias: dict[str, AliasRollout] = {}
        self._model = model
        self._main = main
        self._dependencies = replace(dependencies, poll_s=poll_s)
        self._history = history
        self._log = log
        self._main_up = asyncio.Event()
        self._neighbours: dict[AliasRollout, Neighbours] = {}
        self._going: list[AliasRollout] = []
        self._running: dict[AliasRollout, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        for alias in other_aliases(main.config):
            self._add(alias)

    def run(self, tasks: asyncio.TaskGroup) -> None:
        """Follow each alias, also those that are added later."""
        self._tasks = tasks
        for alias, canary in self.by_alias.items():
            self._start(alias, canary)

    @property
    def going(self) -> list[Version]:
        """Versions that get no requests any more and have not ended yet."""
        return [version for canary in self._going for version in canary.executor.versions.values()]

    def configure(self, config: Model, dependencies: Dependencies, poll_s: float) -> None:
        """Go by other settings, after `main` does: with these aliases, and no others."""
        self._dependencies = replace(dependencies, poll_s=poll_s)
        wanted = other_aliases(config)
        for alias in [alias for alias in self.by_alias if alias not in wanted]:
            self._drop(alias)
        for canary in self.by_alias.values():
            canary.configure(config, self._dependencies)
        for alias in wanted:
            if alias not in self.by_alias:
                self._start(alias, self._add(alias))

    def main_changed(self) -> None:
        """The main alias serves another version: each canary asks the registry what it is to serve now."""
        self._main_up.set()
        for canary in self.by_alias.values():
            canary.orders.refresh()

    def _changed(self) -> None:
        """A canary that serves nothing because another alias serves the same version asks the registry again."""
        for canary in self.by_alias.values():
            canary.follower.ask_now()

    def _add(self, alias: str) -> AliasRollout:
        neighbours = Neighbours([self._main, *self.by_alias.values()])
        canary = self.by_alias[alias] = AliasRollout(
            self._model,
            f"{self._main.config.uri.rpartition('@')[0]}@{alias}",
            self._main.config,
            self._dependencies,
            self._history.of_alias(alias),
            self._log.bind(alias=alias),
            lenient=True,
            policy=CanaryPolicy(neighbours),
            on_change=self._changed,
        )
        self._neighbours[canary] = neighbours
        canary.executor.ordered = self._main.executor.ordered  # an operator may have scaled the model
        return canary

    def _start(self, alias: str, canary: AliasRollout) -> None:
        if self._tasks is not None:
            self._running[canary] = self._tasks.create_task(self._follow(alias, canary))

    def _drop(self, alias: str) -> None:
        """An alias has no part in the traffic any more: what it was given is finished, then its processes end."""
        canary = self.by_alias.pop(alias)
        del self._neighbours[canary]
        for neighbours in self._neighbours.values():
            neighbours.forget(canary)
        if self._tasks is not None:
            self._going.append(canary)
            self._tasks.create_task(self._finish(canary))

    async def _finish(self, canary: AliasRollout) -> None:
        await drain(self._dependencies.traffic, canary.executor.versions.values())
        await end_task(self._running.pop(canary))
        self._going.remove(canary)
        self._changed()

    async def _follow(self, alias: str, canary: AliasRollout) -> None:
        # Which version a canary shares with the main alias is known when that serves; before, nothing is to share.
        await self._main_up.wait()
        try:
            await canary.run()
        except Exception as error:  # noqa: BLE001 - a share of the traffic is not worth the whole of it
            canary.record.stopped(error)
            self._log.exception("a canary broke", alias=alias, exc_info=error)
            self._dependencies.traffic.publish()
