"""Follows one URI: asks the registry, brings versions up beside the serving one, checks them, moves traffic.

`core.rollout` decides; this carries out what it says and tells it what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args

from headrace.config.tree import Model
from headrace.core.errors import HeadraceError, ModelNotFound, RegistryError, UsageError
from headrace.core.identity import Resolved, parse_model_uri
from headrace.core.lifecycle import State
from headrace.core.rollout import Action, CannotRollBack, Flip, Rollout, Start
from headrace.supervisor.baking import bake
from headrace.supervisor.beside import Beside
from headrace.supervisor.checks import Checker, Former, Refused
from headrace.supervisor.history import History, Memory
from headrace.supervisor.known import Known, known, resolved_of, with_reasons
from headrace.supervisor.means import Means
from headrace.supervisor.rising import Surroundings, bring_again, rise
from headrace.supervisor.versions import Version
from headrace.supervisor.workers import EndReason, Workers, WorkerSpec, none_ended
from headrace.telemetry.logs import Log

_TICK_S = 0.5
_AGAIN_S = 1.0
_MOST_ENDED = 32

Outcome = Literal["succeeded", "failed", "refused", "abandoned"]
"""What became of a version that was brought up. Abandoned: another was wanted before it was ready."""


class Track:
    """The versions of one model that one URI (an alias, a stage, a fixed version) leads to.

    `lenient`: a URI that leads nowhere is a problem to tell instead of an error to raise. `beside` is for a track that
    has a share of other tracks' traffic: what serves there, or was sent back there, is not brought up here; what serves
    here is compared with the main one's, and gives its share back when it does badly or its alias is deleted.
    `on_change` is called after each flip, and when nothing serves any more.
    """

    def __init__(
        self,
        model: str,
        uri: str,
        config: Model,
        means: Means,
        history: History,
        log: Log,
        *,
        lenient: bool = False,
        beside: Beside | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.uri = parse_model_uri(uri)
        self.config = config
        self.versions: dict[str, Version] = {}
        self.problem = ""
        self.failed: dict[str, Any] | None = None
        self.registry_problem = ""
        self.registry_lost_s: float | None = None
        self.missing = ""
        self.rollbacks = 0
        self.outcomes: dict[Outcome, int] = dict.fromkeys(get_args(Outcome), 0)
        self.ended: dict[str, dict[EndReason, int]] = {}
        self.resting: Resolved | None = None
        self.asked = False
        self._lenient = lenient
        self._beside = beside
        self._on_change = on_change
        self._has_served = False
        self._signature: dict[str, Any] | None = None
        self._has_started = False
        retry_s = config.rollout.retry_s
        self._rollout = Rollout(config.rollout.keep_old_s, retry_s, max(retry_s, Rollout.retry_most_s))
        self._checker = Checker(config.checks, config.timeout_s)
        self._means = means
        self._history = history
        self._log = log
        self._refresh = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bake: asyncio.Task[None] | None = None
        self._closing = False

    def __repr__(self) -> str:
        return f"<Track {self.model} {self.uri.text} {list(self.versions.values())}>"

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

    @property
    def held(self) -> bool:
        """Whether it was rolled back, and stays so until the registry points elsewhere."""
        return self._rollout.held is not None

    @property
    def before(self) -> str | None:
        """What a rollback would go back to; None where there is nothing."""
        before = self._rollout.before
        return str(before) if before is not None else None

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(version, reason) of what is not brought up until the registry changes."""
        return [(str(identity), reason) for identity, reason in self._rollout.bad.items()]

    @property
    def settled(self) -> bool:
        """Whether the first bring-up is over: something serves, or nothing can."""
        return self.serving is not None or (bool(self.problem) and self.candidate is None)

    @property
    def blocked(self) -> bool:
        """Whether something else should serve than does, and could not be brought up."""
        wanted, serving = self._rollout.wanted, self.serving
        return bool(self.problem) and (serving is None or (wanted is not None and Known(serving.resolved) != wanted))

    @property
    def started(self) -> bool:
        """Whether the first bring-up is over, as far as it can be: waiting or starting again would change nothing."""
        self._has_started = self._has_started or self.settled or (bool(self.registry_problem) and not self.candidate)
        return self._has_started

    def why_sent_back(self, resolved: Resolved) -> str:
        """Why this version has served and does not any more; empty where it has done nothing wrong."""
        return self._rollout.sent_back.get(Known(resolved), "")

    def why_not(self) -> str:
        """Why nothing serves, in one line."""
        if self.serving is None and self.candidate is not None:
            detail = f" ({self.registry_problem})" if self.registry_problem else ""
            return f"version {self.candidate.label} is {self.candidate.life.state}{detail}"
        return self.problem or self.registry_problem or "no worker is ready at the moment; one is being started"

    def refresh(self, *, anew: bool = False) -> None:
        """Ask the registry now instead of at the next poll, and try again now what failed for a passing reason.

        `anew`: also what was refused or rolled back, as if the registry had just changed.
        """
        self._refresh.set()
        self._do(self._rollout.retry(time.time(), anew=anew))
        if anew:
            self._remember()

    def ask_again(self) -> None:
        """Ask the registry now; what failed waits for its time."""
        self._refresh.set()

    def roll_back(self, reason: str) -> str:
        """Go back to the version before; returns what happens now in words. Raises UsageError where there is none."""
        return self._go_back(self._rollout.roll_back, reason)

    async def run(self) -> None:
        """Follow the URI until cancelled; cancelling ends every process of the track before this returns.

        Raises UsageError (ModelNotFound) when the first question to the registry shows that the URI is wrong.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._tick())
        except* HeadraceError as group:
            raise group.exceptions[0] from None
        finally:
            self._closing = True
            left = [*self._tasks, *(v.task for v in self.versions.values() if v.task)]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # Asking.

    async def _follow(self) -> None:
        await self._recall()
        first = True
        while True:
            self._refresh.clear()
            try:
                first = not await self._ask(first=first) and first
            except HeadraceError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever happens here, what serves goes on serving
                self._broke("the registry was asked in vain", error)
            self.asked = True
            watching = self.uri.moves or first
            poll_s = self._means.poll_s if watching else None
            delay_s = None if poll_s is None else poll_s * (0.9 + random.random() / 5)  # noqa: S311 - jitter
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._refresh.wait(), delay_s)

    async def _ask(self, *, first: bool) -> bool:
        """Ask the registry once and act on what it says; False where it could not be asked or knows nothing."""
        try:
            resolved = await self._means.agent.resolve(self.uri.text, patient=self.candidate is None)
        except RegistryError as error:
            self._registry_lost(str(error))
            self._do(self._rollout.unreachable(time.time()))
            return False
        except (ModelNotFound, UsageError) as error:
            if first and self.serving is None and not self._lenient and not self._has_served:
                raise
            if self._beside is not None and isinstance(error, ModelNotFound):
                self._registry_reached()
                self._missing(str(error))
                return False
            # It has led somewhere before: whoever deleted the alias did not mean to stop what serves.
            self._registry_lost(str(error))
            self._do(self._rollout.unreachable(time.time()))
            return False
        self._registry_reached()
        self.missing = ""
        if self._beside is not None and self._beside.serving(resolved):
            if self.resting != resolved:
                self._log.info("resting", version=str(Known(resolved)), reason="another alias serves it already")
                self._rest("it serves elsewhere")
            self.resting = resolved
            return True
        self.resting = None
        if self._beside is not None and (why := self._beside.why_sent_back(resolved)):
            told = f"{Known(resolved)}: sent back where it had all the traffic: {why}"
            if self.problem != told:
                self._log.warning("no share", reason=told)
                self._rest("it was sent back")
            self.problem = told
            return True
        news = self._rollout.registry != Known(resolved)
        self._do(self._rollout.pointed(Known(resolved), time.time()))
        if news:
            self._remember()
        if self.serving is None and self.candidate is None and not self.problem:
            # Known from before a restart.
            why = self.why_sent_back(resolved)
            self.problem = f"{Known(resolved)}: withdrawn: {why}" if why else ""
        return True

    async def _recall(self) -> None:
        """Begin with what is in the cache, most likely still right, while the registry is being asked."""
        memory = await asyncio.to_thread(self._history.recall)
        self._has_served = bool(memory.served)
        self._signature = memory.signature
        self._rollout.restore(
            [Known(resolved) for resolved in memory.served],
            known(memory.pointed_at),
            known(memory.held),
            {Known(resolved): reason for resolved, reason in memory.sent_back},
            {Known(resolved): reason for resolved, reason in memory.refused},
        )
        # A share that was ended does not come back because the registry cannot be asked.
        kept = memory.pointed_at
        hint = await asyncio.to_thread(self._means.store.last, self.uri.text) if self._beside is None else kept
        likely = resolved_of(self._rollout.likely(known(hint)))
        if likely is None or (self._beside is not None and self._beside.serving(likely)):
            return
        if await asyncio.to_thread(self._means.store.find, likely) is not None:
            self._do(self._rollout.guess(Known(likely), time.time()))

    def _registry_lost(self, why: str) -> None:
        if why != self.registry_problem:
            kept = self.serving or self.candidate
            self._log.warning("registry problem", reason=why, kept=kept.label if kept else None)
        self.registry_problem = why
        self.registry_lost_s = self.registry_lost_s or time.time()

    def _registry_reached(self) -> None:
        if self.registry_problem:
            self._log.info("registry reached again", away_s=round(time.time() - (self.registry_lost_s or 0), 1))
        self.registry_problem, self.registry_lost_s = "", None

    def _missing(self, why: str) -> None:
        """The alias of a share is not there, or not any more: the version beside has the share."""
        if not self.missing:
            self._log.info("no share", reason=why)
            if self.serving is not None:
                self._history.add("ended", self.serving.label, "its alias is gone")
            self._rest("its alias is gone")
        self.missing, self.resting = why, None

    def _rest(self, reason: str) -> None:
        """Have no share until the registry says something else."""
        self.problem, self.failed = "", None
        self._do(self._rollout.rest(time.time(), reason))
        self._remember()
        self._publish()
        self._on_change()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self._do(self._rollout.tick(time.time()))
            except Exception as error:  # noqa: BLE001 - as in _follow
                self._broke("a tick broke", error)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what nobody awaits: an error is told, in the log and as the track's problem, and never lost."""
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - told, not lost
            self._broke("a task broke", error)

    def _broke(self, what: str, error: Exception) -> None:
        self.problem = f"{what}: {type(error).__name__}: {error}"
        self._log.exception(what, exc_info=error, kept=self.serving.label if self.serving else None)

    # Doing.

    def _do(self, actions: list[Action]) -> None:
        if self._closing:
            return  # every version is being ended already
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Flip):
                self._flip(action)
            else:
                version = self.versions[action.key]
                if not version.has_served and version.life.state is not State.FAILED:
                    self.outcomes["abandoned"] += 1
                self._log.info("version ends", version=version.label, reason=action.reason)
                self._hold(self._end(action.key, version, drain=action.drain))

    def _start(self, action: Start) -> None:
        identity = action.identity
        if not isinstance(identity, Known):
            raise TypeError(f"a rollout of {self.model} was given {identity!r}")
        version = Version(self.model, action.key, identity.resolved, self._rollout.slots[action.key].life)
        # Versions of several tracks share the gateways' name space of pools.
        version.key = f"{version.label}@{self.uri.selector}#{_serial()}"
        self.versions[action.key] = version
        version.task = asyncio.create_task(self._guarded(self._live(action.key, version)))

    def _flip(self, action: Flip) -> None:
        version, old = self.versions[action.key], self.versions.get(action.old or "")
        self.problem, self.failed = "", None
        self._signature = version.workers.facts.get("signature") if version.workers is not None else None
        if not version.has_served:
            version.has_served = True
            self.outcomes["succeeded"] += 1
        self._log.info(
            "serving",
            version=version.label,
            reason=action.reason,
            after_s=round(time.monotonic() - version.started_s, 2),
            replaced=old.label if old else None,
        )
        self._history.add("serving", version.label, action.reason, replaced=old.label if old else None)
        self._remember()
        self._publish()
        if self._bake is not None:
            self._bake.cancel()
        if self.config.rollout.bake_s > 0 and self._rollout.held is None and (self._beside or old is not None):
            self._bake = self._hold(self._watch_over(version, old))
        self._on_change()

    async def _end(self, key: str, version: Version, *, drain: bool) -> None:
        """End a version's processes, then tell the rollout."""
        self._means.traffic.publish()
        if drain:
            await self._means.traffic.drained(version.key)
        if version.task:
            version.task.cancel()
            await asyncio.gather(version.task, return_exceptions=True)
        self.versions.pop(key, None)
        self._do(self._rollout.ended(key, time.time()))

    async def _live(self, key: str, version: Version) -> None:
        """A version's life, from its resolution to the end of its last process, and of its use of an environment."""
        try:
            await self._bring_up(key, version)
        finally:
            if version.prepared is not None:
                self._means.environments.release(version.prepared)

    async def _bring_up(self, key: str, version: Version) -> None:
        """Have a version's processes run until they end, and say why they did.

        One that serves is never given up: should its processes end for a reason of ours, they are started again.
        """
        log = self._log.bind(version=version.label)
        log.info("bringing up", uri=self.uri.text)
        while True:
            try:
                workers = version.workers = self._workers(version, log)
                risen = version.can_answer
                if risen and version.stored is not None and version.prepared is not None:
                    workers.proven = True
                    workers.load(version.stored.path, version.prepared, verified=False)
                async with asyncio.TaskGroup() as tasks:
                    processes = tasks.create_task(workers.run())
                    if not risen:
                        rising = tasks.create_task(self._rise(key, version, workers, log))
                        await asyncio.wait({processes, rising}, return_when=asyncio.FIRST_COMPLETED)
                        if not processes.done():
                            await processes
                        rising.cancel()
                reason, detail, for_good = workers.failure or "its processes ended", workers.failure_detail, False
            except* Refused as group:
                reason, detail, for_good = str(group.exceptions[0]), "", True
            except* HeadraceError as group:
                reason, detail, for_good = str(group.exceptions[0]), "", False
            except* Exception as group:
                error = group.exceptions[0]
                log.exception("bring-up broke", exc_info=group)
                reason, detail, for_good = f"{type(error).__name__}: {error}", "", False
            if key != self._rollout.serving:
                self._failed(key, version, reason, detail=detail, for_good=for_good)
                return
            log.error("the serving version has lost its processes", reason=reason, again_in_s=_AGAIN_S)
            self._publish()
            await asyncio.sleep(_AGAIN_S)
            if key != self._rollout.serving:
                return  # withdrawn meanwhile

    def _workers(self, version: Version, log: Log) -> Workers:
        spec = WorkerSpec(
            key=version.key,
            model=self.model,
            label=version.label,
            replicas=self.config.replicas,
            environ=self._means.environ,
            kept_back=self._means.kept_back,
            options=self._means.options,
            timeout_s=self.config.timeout_s,
            hung_after_s=self._means.hung_after_s,
        )
        # The counts of the newest versions outlive their processes.
        ended = self.ended[version.label] = self.ended.pop(version.label, none_ended())
        for label in [*self.ended][:-_MOST_ENDED]:
            del self.ended[label]
        means = self._means
        return Workers(spec, means.room, log, self._workers_changed, ended, lambda: bring_again(version, means, log))

    async def _rise(self, key: str, version: Version, workers: Workers, log: Log) -> None:
        around = Surroundings(
            progressed=lambda state: self._progressed(key, state),
            until=self._until,
            serves=lambda: self.serving is not None,
            former=lambda: self._former(key),
            has_fallback=lambda: self._beside is not None or self._rollout.has_fallback,
        )
        await rise(version, workers, self.config, self._means, self._checker, around, log)

    def _former(self, key: str) -> Former | None:
        """What a candidate is compared with; None where it replaces what does badly or cannot come up."""
        if self._rollout.goes_back(key):
            return None
        now = self._beside.main if self._beside is not None else self.serving
        if now is not None and now.workers is not None:
            return Former(now.workers.facts.get("signature"), now.workers.example_s)
        # The registry may have changed while headrace was down: clients are those of what served before.
        return Former(self._signature, serves=False) if self._rollout.replaces_last(key) else None

    def _progressed(self, key: str, state: State) -> None:
        self._do(self._rollout.progressed(key, state, time.time()))

    def _failed(self, key: str, version: Version, reason: str, *, detail: str = "", for_good: bool = False) -> None:
        if not self._rollout.can_fail(key):
            return
        self.problem = f"{version.label}: {reason}"
        environment = version.prepared.describe() if version.prepared else None
        kept = self.serving.label if self.serving else None
        identity, now_s = self._rollout.slots[key].identity, time.time()
        self.failed = {"label": version.label, "reason": reason, "at": now_s, "environment": environment}
        actions = self._rollout.failed(key, reason, now_s, for_good=for_good)
        again_in_s = self._rollout.retry_in_s(identity, now_s)
        self._log.error(
            "FAILED", version=version.label, reason=reason, kept=kept, refused=for_good, again_in_s=again_in_s
        )
        if detail:
            self._log.debug("failure in full", version=version.label, detail=detail)
        outcome: Outcome = "refused" if for_good else "failed"
        if not version.has_served:  # one that is kept warm has come up before
            self.outcomes[outcome] += 1
        self._history.add(outcome, version.label, reason)
        self._do(actions)
        self._remember()
        self._publish()

    # After the flip.

    async def _watch_over(self, version: Version, old: Version | None) -> None:
        """Send the new version back when it does badly; once it is being rolled back, there is nothing to watch."""
        beside, traffic = self._beside, self._means.traffic
        if beside is not None:
            reason = await bake(traffic, self.config.rollout, self.model, version, lambda: beside.main, together=True)
        else:
            reason = await bake(traffic, self.config.rollout, self.model, version, lambda: old, together=False)
        if self.serving is not version or self._rollout.held is not None:
            return
        if reason is None:
            self._log.info("baked", version=version.label, for_s=self.config.rollout.bake_s)
            return
        if beside is not None:
            self._withdraw(version, reason)
            return
        try:
            self._go_back(self._rollout.send_back, f"after it took over, {reason}")
        except UsageError as error:
            self.problem = f"{version.label}: after it took over, {reason}; {error}"
            self._log.error("does badly", version=version.label, reason=reason, kept=version.label, why=str(error))

    def _withdraw(self, version: Version, reason: str) -> None:
        """Give the share of the traffic back to the version beside this one."""
        self.problem = f"{version.label}: withdrawn: {reason}"
        self.rollbacks += 1
        self._history.add("withdrawn", version.label, reason)
        self._log.warning("withdrawn", version=version.label, reason=reason)
        self._do(self._rollout.withdraw(reason, time.time()))
        self._remember()
        self._publish()
        self._on_change()

    def _go_back(self, decide: Callable[[str, float], list[Action]], reason: str) -> str:
        bad = self.serving
        try:
            actions = decide(reason, time.time())
        except CannotRollBack as error:
            anew = f"; 'headrace refresh {self.model} --anew' follows the registry again" if self.held else ""
            raise UsageError(f"model {self.model!r} cannot be rolled back: {error}{anew}") from None
        self.rollbacks += 1
        self._history.add("rolled back", bad.label if bad else "", reason)
        self._log.warning("rolled back", version=bad.label if bad else None, reason=reason)
        self._do(actions)
        self._remember()
        if self.serving is not bad:
            return f"{self.serving.label if self.serving else 'nothing'} serves again"
        # Not warm any more; its bring-up may have to wait until another version's processes have ended.
        target = self.candidate.label if self.candidate else self._rollout.wanted
        return f"{target} is brought up {'again ' if self.held else ''}and will take over"

    def _remember(self) -> None:
        rollout = self._rollout
        self._history.remember(
            Memory(
                served=[resolved for identity in rollout.served if (resolved := resolved_of(identity))],
                pointed_at=resolved_of(rollout.pointed_at),
                held=resolved_of(rollout.held),
                sent_back=with_reasons(rollout.sent_back),
                refused=with_reasons(rollout.refused),
                signature=self._signature,
            )
        )

    def _workers_changed(self) -> None:
        self._changed.set()
        self._publish()

    def _publish(self) -> None:
        if not self._closing:
            self._means.traffic.publish()

    def _hold(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def describe(self) -> dict[str, Any]:
        """The track as data."""
        return {
            "uri": self.uri.text,
            "problem": self.problem or None,
            "failed": self.failed,
            "registry_problem": self.registry_problem or None,
            "registry_lost": self.registry_lost_s,
            "missing": self.missing or None,
            "held": self.held,
            "before": self.before,
            "rollbacks": self.rollbacks,
            "rollouts": self.outcomes,
            "current": self.serving.describe() if self.serving else None,
            "candidate": self.candidate.describe() if self.candidate else None,
            "warm": self.warm.describe() if self.warm else None,
            "resting": str(Known(self.resting)) if self.resting else None,
            "bad": [{"version": version, "reason": reason} for version, reason in self.bad],
        }


_serials = iter(range(1, sys.maxsize))


def _serial() -> int:
    """A number that no other version of this process has."""
    return next(_serials)
