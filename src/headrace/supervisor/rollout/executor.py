"""Carries out the decisions of the rollout: starts, flips and ends versions, and reports the results to the rollout."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Literal, Protocol, get_args

from headrace.config.replicas import bounds
from headrace.config.tree import Model
from headrace.core.errors import HeadraceError, ModelLoadError
from headrace.core.identity import ModelUri, Resolved
from headrace.core.processes.scaling import Bounds, Scaling
from headrace.core.rollout.actions import Action, Flip, Share, Start, Stop
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.processes.worker_process import EndReason, WorkerSpec, none_ended
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.bring_up import Surroundings, bring_up, fetch_again
from headrace.supervisor.rollout.checks import Checker, Former, Refused, Wrong
from headrace.supervisor.rollout.dependencies import Dependencies, Processes
from headrace.supervisor.rollout.policy import AliasPolicy
from headrace.supervisor.rollout.record import AliasRecord
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log

_AGAIN_S = 1.0
_MOST_ENDED = 32

Outcome = Literal["succeeded", "failed", "refused", "abandoned"]
"""What became of a version that was brought up.

Refused: by a check, or for how it did with its first share. Abandoned: another was wanted before it was ready.
"""


class ExecutorEvents(Protocol):
    """The events that the executor reports to its alias."""

    def serves(self, version: Version, old: Version | None, reason: str) -> None:
        """A version has the traffic now."""

    def shares(self, version: Version, percent: int) -> None:
        """A version has so many percent of the traffic now."""

    def changed(self) -> None:
        """The state of the rollout has changed: keep and publish it."""

    def broke(self, what: str, error: Exception) -> None:
        """An error of headrace's own in a task that nothing awaits."""


class Executor:
    """The only one that creates and ends versions. `signature` is that of the version that took over last.

    `ordered` is how many replicas an operator wants each version to have; None: as many as the settings say.
    """

    def __init__(
        self,
        model: str,
        uri: ModelUri,
        config: Model,
        rollout: Rollout[Resolved],
        policy: AliasPolicy,
        dependencies: Dependencies,
        record: AliasRecord,
        owner: ExecutorEvents,
        log: Log,
    ) -> None:
        self.versions: dict[str, Version] = {}
        self.outcomes: dict[Outcome, int] = dict.fromkeys(get_args(Outcome), 0)
        self.ended: dict[str, dict[EndReason, int]] = {}
        self.signature: dict[str, Any] | None = None
        self.ordered: int | None = None
        self._model = model
        self._uri = uri
        self._config = config
        self._rollout = rollout
        self._policy = policy
        self._dependencies = dependencies
        self._record = record
        self._owner = owner
        self._log = log
        self._checker = Checker(config.checks, config.timeout_s)
        self._changed = asyncio.Event()
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def serving(self) -> Version | None:
        """The version that has the traffic."""
        return self.versions.get(self._rollout.serving or "")

    @property
    def candidate(self) -> Version | None:
        """The version that is being brought up."""
        return self.versions.get(self._rollout.candidate or "")

    @property
    def warm(self) -> Version | None:
        """The version that served before and can take over at once."""
        return self.versions.get(self._rollout.warm or "")

    def do(self, actions: list[Action[Resolved]]) -> None:
        """Carry out what the rollout has decided; nothing once `close` is called, for all is being ended then."""
        if self._closing:
            return
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Share):
                self._share(action)
            elif isinstance(action, Flip):
                self._flip(action)
            else:
                self._stop(action)

    def hold(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what nobody awaits until it ends or `close` is called; an error in it is told to the owner."""
        task = asyncio.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def configure(self, config: Model, dependencies: Dependencies) -> None:
        """Go by other settings from now on: what runs stays as it is, but for how long it may be silent."""
        former, self._config, self._dependencies = self._config, config, dependencies
        self._checker = Checker(config.checks, config.timeout_s)
        for version in self.versions.values():
            if version.workers is not None:
                version.workers.spec = replace(version.workers.spec, timeout_s=config.timeout_s)
        self.scale(self.ordered if config.replicas == former.replicas else None)

    @property
    def bounds(self) -> Bounds:
        """Between how many replicas each version has."""
        return bounds(self._config) if self.ordered is None else Bounds.fixed(self.ordered)

    @property
    def replicas(self) -> int:
        """How many the version that serves should have; where none does, how many the next one begins with."""
        return self.serving.scaling.wanted if self.serving is not None else self.bounds.first

    def scale(self, replicas: int | None) -> None:
        """Have each version run in so many replicas; None: in as many as the settings say."""
        self.ordered = replicas
        for version in self.versions.values():
            version.bound(self.bounds, clock.now_s())
        self.publish()

    def publish(self) -> None:
        """Publish the present state to the gateways."""
        if not self._closing:
            self._dependencies.traffic.publish()

    async def close(self) -> None:
        """End every version; their processes have ended when this returns."""
        self._closing = True
        left = [*self._tasks, *self._lives.values()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - told, not lost
            self._owner.broke("a task broke", error)

    # What the rollout decides.

    def _start(self, action: Start[Resolved]) -> None:
        life = self._rollout.slots[action.key].life
        scaling = Scaling(self.bounds, clock.now_s(), self.replicas)
        version = Version(self._model, self._uri.selector, _serial(), action.identity, life, scaling)
        self.versions[action.key] = version
        self._lives[action.key] = asyncio.create_task(self._guarded(self._live(action.key, version)))

    def _flip(self, action: Flip) -> None:
        version, old = self.versions[action.key], self.versions.get(action.old or "")
        self.signature = version.signature
        if old is not None:
            version.succeed(old, clock.now_s())
        if version.serves():
            self.outcomes["succeeded"] += 1
        self._log.info(
            "serving",
            version=version.label,
            reason=action.reason,
            after_s=round(time.monotonic() - version.started_s, 2),
            replaced=old.label if old else None,
        )
        self._owner.serves(version, old, action.reason)

    def _share(self, action: Share) -> None:
        version = self.versions[action.key]
        version.shares(action.percent)
        self._log.info("step", version=version.label, percent=action.percent)
        self._owner.shares(version, action.percent)

    def _stop(self, action: Stop) -> None:
        version = self.versions[action.key]
        version.shares(0)
        if not version.has_served and version.life.state is not State.FAILED:
            badly = self._rollout.marks.was_sent_back(version.resolved)
            self.outcomes["refused" if badly else "abandoned"] += 1
        self._log.info("version ends", version=version.label, reason=action.reason)
        self.hold(self._end(action.key, version, drain=action.drain))

    async def _end(self, key: str, version: Version, *, drain: bool) -> None:
        """End a version's processes, then tell the rollout."""
        self._dependencies.traffic.publish()
        if drain:
            await self._dependencies.traffic.drained(version.key)
        life = self._lives.pop(key)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        self.versions.pop(key, None)
        self.do(self._rollout.ended(key, clock.now_s()))

    # A version's life.

    async def _live(self, key: str, version: Version) -> None:
        """From a version's resolution to the end of its last process, and of its use of an environment."""
        try:
            await self._run(key, version)
        finally:
            if version.prepared is not None:
                self._dependencies.environments.release(version.prepared)

    async def _run(self, key: str, version: Version) -> None:
        """Have a version's processes run until they end, and say why they did.

        One that serves is never given up: should its processes end for a reason of ours, they are started again.
        """
        log = self._log.bind(version=version.label)
        log.info("bringing up", uri=self._uri.text)
        while True:
            try:
                workers = self._workers(version, log)
                is_up = version.can_answer
                version.run_by(workers)
                if is_up and version.stored is not None and version.prepared is not None:
                    workers.proven = True
                    workers.load(version.stored.path, version.prepared, verified=False)
                async with asyncio.TaskGroup() as tasks:
                    processes = tasks.create_task(workers.run())
                    if not is_up:
                        rising = tasks.create_task(self._bring_up(key, version, workers, log))
                        await asyncio.wait({processes, rising}, return_when=asyncio.FIRST_COMPLETED)
                        if not processes.done():
                            await processes
                        rising.cancel()
                error: HeadraceError = ModelLoadError(workers.failure or "its processes ended")
                detail = workers.failure_detail
            except* HeadraceError as group:
                error, detail = _first_of(group), ""
            except* Exception as group:
                log.exception("bring-up broke", exc_info=group)
                error, detail = ModelLoadError(f"{type(group.exceptions[0]).__name__}: {group.exceptions[0]}"), ""
            reason = str(error)
            if key != self._rollout.serving:
                self._failed(key, version, error, detail=detail)
                return
            log.error("the serving version has lost its processes", reason=reason, again_in_s=_AGAIN_S)
            self.publish()
            await asyncio.sleep(_AGAIN_S)
            if key != self._rollout.serving:
                return  # it has been replaced meanwhile

    def _workers(self, version: Version, log: Log) -> Processes:
        dependencies = self._dependencies
        spec = WorkerSpec(
            key=version.key,
            model=self._model,
            label=version.label,
            replicas=version.scaling.wanted,
            environ=dependencies.environ,
            kept_back=dependencies.kept_back,
            options=dependencies.options,
            share_imports=dependencies.share_imports,
            timeout_s=self._config.timeout_s,
            hung_after_s=dependencies.hung_after_s,
        )
        # The counts of the newest versions outlive their processes.
        ended = self.ended[version.label] = self.ended.pop(version.label, none_ended())
        for label in [*self.ended][:-_MOST_ENDED]:
            del self.ended[label]
        again = lambda: fetch_again(version, dependencies, log)  # noqa: E731
        return dependencies.make_processes(spec, log, self._workers_changed, ended, again)

    async def _bring_up(self, key: str, version: Version, workers: Processes, log: Log) -> None:
        around = Surroundings(
            progressed=lambda state: self._progressed(key, version, state),
            until=self._until,
            serves=lambda: self.serving is not None,
            former=lambda: self._former(key),
            has_fallback=lambda: self._policy.has_fallback(self._rollout),
        )
        await bring_up(version, workers, self._config, self._dependencies, self._checker, around, log)

    def _progressed(self, key: str, version: Version, state: State) -> None:
        if state is State.READY:
            doubtful = version.made_up is not None and version.made_up.failed
            self._rollout.set_steps(key, self._policy.steps(self._config.rollout, doubtful=doubtful))
        self.do(self._rollout.progressed(key, state, clock.now_s()))

    def _former(self, key: str) -> Former | None:
        """What a candidate is compared with; None where it replaces what does badly or cannot come up."""
        if self._rollout.goes_back(key):
            return None
        now = self._policy.compared_with(self.serving)
        if now is not None and now.workers is not None:
            return Former(now.signature, now.example_s)
        # The registry may have changed while headrace was down: clients are those of what served before.
        return Former(self.signature, serves=False) if self._rollout.replaces_last(key) else None

    def _failed(self, key: str, version: Version, error: HeadraceError, *, detail: str) -> None:
        if not self._rollout.can_fail(key):
            return
        reason, refused = str(error), isinstance(error, Refused)
        identity, now_s = self._rollout.slots[key].identity, clock.now_s()
        actions = self._rollout.failed(key, reason, now_s, for_good=refused, wrong=isinstance(error, Wrong))
        self._log.error(
            "FAILED",
            version=version.label,
            reason=reason,
            kept=self.serving.label if self.serving else None,
            refused=refused,
            again_in_s=self._rollout.marks.due_in_s(identity, now_s),
        )
        if detail:
            self._log.debug("failure in full", version=version.label, detail=detail)
        if not version.has_served:  # one that is kept warm has come up before
            self.outcomes["refused" if refused else "failed"] += 1
        self._record.failed(version, reason, refused=refused)
        self.do(actions)
        self._owner.changed()

    def _workers_changed(self) -> None:
        self._changed.set()
        self.publish()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def _first_of(group: BaseExceptionGroup[HeadraceError]) -> HeadraceError:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


_serials = iter(range(1, sys.maxsize))


def _serial() -> int:
    """A number that is unique in this process."""
    return next(_serials)
