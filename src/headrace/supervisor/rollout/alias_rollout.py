"""The roll-out of one alias of a model: the registry says what should serve, the rollout decides, the executor acts.

This module connects the three, and keeps the status, the history and the state for the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from headrace.config.tree import Model
from headrace.core.errors import HeadraceError
from headrace.core.identity import Resolved, parse_model_uri
from headrace.core.rollout.marks import Marks
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.dependencies import Dependencies
from headrace.supervisor.rollout.executor import Executor
from headrace.supervisor.rollout.follower import RegistryFollower
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.orders import Orders
from headrace.supervisor.rollout.policy import AliasPolicy, Objection
from headrace.supervisor.rollout.record import AliasRecord
from headrace.supervisor.rollout.status import Status
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.rollout.watching import Watcher
from headrace.telemetry.logs import Log

_TICK_S = 0.5
_RETRY_MOST_S = 600.0


class AliasRollout:
    """The versions of one model that one URI (an alias, a stage, a fixed version) leads to.

    `lenient`: a URI that leads nowhere is a problem to tell instead of an error to raise. `policy` says what a canary
    does otherwise. `on_change` is called after each flip, and when nothing serves any more.
    """

    def __init__(
        self,
        model: str,
        uri: str,
        config: Model,
        dependencies: Dependencies,
        history: History,
        log: Log,
        *,
        lenient: bool = False,
        policy: AliasPolicy | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.uri = parse_model_uri(uri)
        self.config = config
        self.record = AliasRecord(history, log)
        self._lenient = lenient
        self._policy = policy or AliasPolicy()
        self._on_change = on_change
        self._has_served = False
        self._has_started = False
        marks = Marks[Resolved](*_retries(config))
        self._rollout = Rollout[Resolved](config.rollout.keep_old_s, fixed=not self.uri.moves, marks=marks)
        self._dependencies = dependencies
        self._log = log
        self.follower = RegistryFollower(self.uri, dependencies.registry, dependencies.poll_s, self, log)
        self.contact = self.follower.contact
        self.executor = Executor(
            model, self.uri, config, self._rollout, self._policy, dependencies, self.record, self, log
        )
        self.orders = Orders(model, self._rollout, self.executor, self.follower, self.record)
        self._watcher = Watcher(
            model, config.rollout, self._rollout, self._policy, self.executor, self.record, dependencies.traffic,
            self._sent_back, log,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<AliasRollout {self.model} {self.uri.text} {list(self.executor.versions.values())}>"

    def configure(self, config: Model, dependencies: Dependencies) -> None:
        """Apply new settings. Settings of processes apply to processes that are started from now on."""
        self.config, self._dependencies = config, dependencies
        self._rollout.keep_old_s = config.rollout.keep_old_s
        self._rollout.marks.configure(*_retries(config))
        self.follower.configure(dependencies.poll_s)
        self.executor.configure(config, dependencies)
        self._watcher.configure(config.rollout)

    # What there is.

    @property
    def serving(self) -> Version | None:
        """The version that has the traffic."""
        return self.executor.serving

    @property
    def candidate(self) -> Version | None:
        """The version that is being brought up."""
        return self.executor.candidate

    @property
    def status(self) -> Status:
        """The status of the alias."""
        return self.record.status

    @property
    def held(self) -> bool:
        """Whether it was rolled back and stays so until the registry points to another version."""
        return self._rollout.held is not None

    @property
    def paused(self) -> bool:
        """Whether no version is changed until an operator resumes it."""
        return self._rollout.paused

    @property
    def offered(self) -> list[str]:
        """The versions that a rollback may choose, the newest first."""
        return [str(identity) for identity in self._rollout.offered]

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(version, reason) of versions that are not brought up until the registry changes."""
        return [(str(identity), reason) for identity, reason in self._rollout.marks.bad.items()]

    @property
    def settled(self) -> bool:
        """Whether the first bring-up is over: something serves, or nothing can."""
        return self.serving is not None or (bool(self.status.problem) and self.candidate is None)

    @property
    def blocked(self) -> bool:
        """Whether the version that should serve could not be brought up."""
        wanted, serving = self._rollout.wanted, self.serving
        return bool(self.status.problem) and (serving is None or (wanted is not None and serving.resolved != wanted))

    @property
    def started(self) -> bool:
        """Whether the first bring-up is over, as far as it can be: waiting or starting again would change nothing."""
        self._has_started = self._has_started or self.settled or (bool(self.contact.problem) and not self.candidate)
        return self._has_started

    def why_sent_back(self, resolved: Resolved) -> str:
        """Why this version was taken out of service; empty if it was not."""
        return self._rollout.marks.sent_back.get(resolved, "")

    def why_not(self) -> str:
        """Why nothing serves, in one line."""
        if self.serving is None and self.candidate is not None:
            detail = f" ({self.contact.problem})" if self.contact.problem else ""
            return f"version {self.candidate.label} is {self.candidate.life.state}{detail}"
        return self.status.problem or self.contact.problem or "no worker is ready at the moment; one is being started"

    def describe(self) -> dict[str, Any]:
        """The alias as data."""
        serving, candidate, warm = self.serving, self.candidate, self.executor.warm
        return {
            "uri": self.uri.text,
            "problem": self.status.problem or None,
            "failed": asdict(self.record.failure) if self.record.failure else None,
            "registry_problem": self.contact.problem or None,
            "registry_lost": self.contact.lost_s,
            "missing": self.status.missing or None,
            "held": self.held,
            "paused": self.paused,
            "before": next(iter(self.offered), None),
            "offered": self.offered,
            "rollbacks": self.record.rollbacks,
            "rollouts": self.executor.outcomes,
            "current": serving.describe() if serving else None,
            "candidate": candidate.describe() if candidate else None,
            "warm": warm.describe() if warm else None,
            "resting": str(self.status.shared) if self.status.shared else None,
            "bad": [{"version": version, "reason": reason} for version, reason in self.bad],
        }

    async def run(self) -> None:
        """Follow the URI until cancelled; cancelling ends every process of every version before this returns.

        Raises UsageError (ModelNotFound) when the first question to the registry shows that the URI is wrong.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._tick())
        except* HeadraceError as group:
            raise group.exceptions[0] from None
        finally:
            await self.executor.close()

    async def _follow(self) -> None:
        """Begin with what is in the cache, most likely still right, while the registry is being asked."""
        memory = await asyncio.to_thread(self.record.recall)
        self._has_served = bool(memory.served)
        self.executor.signature = memory.signature
        self._rollout.restore(
            memory.served, memory.pointed_at, memory.held, dict(memory.sent_back), dict(memory.refused),
            ill=memory.ill, paused=memory.paused, pinned=memory.pinned,
        )  # fmt: skip
        store = self._dependencies.store
        last_asked = await asyncio.to_thread(store.last, self.uri.text)
        likely = self._rollout.likely(self._policy.hint(last_asked, memory.pointed_at))
        if likely is not None and self._policy.objection(likely) is not None:
            likely = None
        if likely is not None and await asyncio.to_thread(store.find, likely) is not None:
            self.executor.do(self._rollout.guess(likely, clock.now_s()))
        await self.follower.run()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.executor.do(self._rollout.tick(clock.now_s()))
            except Exception as error:  # noqa: BLE001 - whatever happens here, what serves goes on serving
                self.broke("a tick broke", error)

    def fares(self, *, well: bool) -> None:
        """How well the version that serves does now: see `Rollout.fares_well`."""
        self._rollout.fares_well = well

    # What the follower tells: see `follower.Listener`.

    @property
    def is_new(self) -> bool:
        """Whether a URI that leads nowhere is a mistake to end with."""
        return self.serving is None and not self._lenient and not self._has_served

    def pointed(self, resolved: Resolved) -> None:
        """The registry points at `resolved`: bring it up, unless something speaks against it."""
        objection = self._policy.objection(resolved)
        if objection is not None:
            self._stand_aside(objection)
            return
        self.record.followed()
        is_news = self._rollout.registry != resolved
        self.executor.do(self._rollout.pointed(resolved, clock.now_s()))
        if is_news:
            self.record.remember(self._rollout, self.executor.signature)
        why = self.why_sent_back(resolved)
        if why and self.serving is None and self.candidate is None and not self.status.problem:
            self.record.withdrawn_before(resolved, why)

    def unreachable(self) -> None:
        """The registry cannot be asked."""
        self.executor.do(self._rollout.unreachable(clock.now_s()))

    def absent(self, why: str) -> bool:
        """The alias is gone; False where that changes nothing."""
        objection = self._policy.absent(why)
        if objection is not None:
            self._stand_aside(objection)
        return objection is not None

    def broke(self, what: str, error: Exception) -> None:
        """An error of headrace's own: what serves goes on serving."""
        self.record.broke(what, error, self.serving)

    # What the executor tells: see `executor.Owner`.

    def serves(self, version: Version, old: Version | None, reason: str) -> None:
        """A version has taken over: remember that, and watch it."""
        self.record.serves(version, old, reason)
        self.changed()
        self._watcher.begin(version, old)
        self._on_change()

    def shares(self, version: Version, percent: int) -> None:
        """A version has a share of the traffic: watch it."""
        self.record.shares(version, percent)
        self.executor.publish()
        self._watcher.step(version, percent)

    def changed(self) -> None:
        """Keep what the next start must know, and have the gateways know what there is."""
        self.record.remember(self._rollout, self.executor.signature)
        self.executor.publish()

    # Inside.

    def _sent_back(self) -> None:
        self.changed()
        if self._rollout.serving is None:
            self._on_change()

    def _stand_aside(self, objection: Objection) -> None:
        """Serve nothing until the registry says something else; while it is paused, what serves goes on serving."""
        if self.paused:
            return
        if self.record.objected(objection, self.serving):
            self.executor.do(self._rollout.rest(clock.now_s(), objection.because))
            self.changed()
            self._on_change()


def _retries(config: Model) -> tuple[float, float]:
    """The seconds until a failed version is tried again: the first and the longest."""
    retry_s = config.rollout.retry_s
    return retry_s, max(retry_s, _RETRY_MOST_S)
