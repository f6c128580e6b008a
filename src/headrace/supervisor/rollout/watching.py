"""Watches a version that has just got all or a share of the traffic, and sends it back if it does badly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.config.tree import Rollout as RolloutConfig
from headrace.core.identity import Resolved
from headrace.core.rollout.rollout import CannotRollBack, Rollout
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.baking import bake
from headrace.supervisor.rollout.dependencies import Traffic
from headrace.supervisor.rollout.executor import Executor
from headrace.supervisor.rollout.orders import why_no_rollback
from headrace.supervisor.rollout.policy import AliasPolicy, SentBack
from headrace.supervisor.rollout.record import AliasRecord
from headrace.supervisor.rollout.status import Kind, Status
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log


class Watcher:
    """One alias's. `on_sent_back` is called when a version has been sent back."""

    def __init__(
        self,
        model: str,
        config: RolloutConfig,
        rollout: Rollout[Resolved],
        policy: AliasPolicy,
        executor: Executor,
        record: AliasRecord,
        traffic: Traffic,
        on_sent_back: Callable[[], None],
        log: Log,
    ) -> None:
        self._model = model
        self._config = config
        self._rollout = rollout
        self._policy = policy
        self._executor = executor
        self._record = record
        self._traffic = traffic
        self._on_sent_back = on_sent_back
        self._log = log
        self._bake: asyncio.Task[None] | None = None

    def configure(self, config: RolloutConfig) -> None:
        """Judge what takes over from now on by this."""
        self._config = config

    def begin(self, version: Version, old: Version | None) -> None:
        """A version has taken over from `old`: watch it, unless there is nothing to watch or to compare it with."""
        if self._bake is not None:
            self._bake.cancel()
        if self._config.bake_s > 0 and self._rollout.held is None and self._policy.is_watched(old):
            self._bake = self._executor.hold(self._watch(version, old))

    def step(self, version: Version, percent: int) -> None:
        """A version has this share beside the one that serves: watch it for `bake_s`, then have it go on, or end."""
        self._executor.hold(self._watch_step(version, percent))

    async def _watch_step(self, version: Version, percent: int) -> None:
        executor, rollout = self._executor, self._rollout
        reason = await bake(self._traffic, self._config, self._model, version, lambda: executor.serving, together=True)
        key = rollout.candidate
        if key is None or executor.candidate is not version or version.share != percent:
            return
        if reason is None:
            executor.do(rollout.stepped(key, clock.now_s()))
            return
        reason = f"with {percent} % of the traffic, {reason}"
        status = Status(Kind.WITHDRAWN, reason, version.label)
        actions = rollout.withdraw_candidate(key, reason, clock.now_s())
        self._record.sent_back(version, SentBack(actions, "withdrawn", reason, status))
        executor.do(actions)
        self._on_sent_back()

    async def _watch(self, version: Version, old: Version | None) -> None:
        """Send the new version back when it does badly; once it is being rolled back, there is nothing to watch."""
        policy = self._policy
        reason = await policy.watch(self._traffic, self._config, self._model, version, old)
        if self._executor.serving is not version or self._rollout.held is not None:
            return
        if reason is None:
            self._log.info("baked", version=version.label, for_s=self._config.bake_s)
            return
        try:
            sent_back = policy.send_back(self._rollout, version, reason, clock.now_s())
        except CannotRollBack as error:
            why = why_no_rollback(self._model, self._rollout, error)
            self._record.not_replaced(version, f"after it took over, {reason}", why)
            return
        self._record.sent_back(version, sent_back)
        self._executor.do(sent_back.actions)
        self._on_sent_back()
