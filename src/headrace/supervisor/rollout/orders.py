"""The orders of an operator for one alias: refresh, roll back, pause, resume."""

from __future__ import annotations

from headrace.core.errors import UsageError
from headrace.core.identity import Resolved
from headrace.core.rollout.rollout import CannotPause, CannotRollBack, Rollout
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.executor import Executor
from headrace.supervisor.rollout.follower import RegistryFollower
from headrace.supervisor.rollout.policy import SentBack
from headrace.supervisor.rollout.record import AliasRecord


class Orders:
    """Each takes effect at once, is kept across a restart, and is in the history."""

    def __init__(
        self,
        model: str,
        rollout: Rollout[Resolved],
        executor: Executor,
        follower: RegistryFollower,
        record: AliasRecord,
    ) -> None:
        self._model = model
        self._rollout = rollout
        self._executor = executor
        self._follower = follower
        self._record = record

    def refresh(self, *, anew: bool = False) -> None:
        """Ask the registry now instead of at the next poll, and try again now what failed for a passing reason.

        `anew`: also what was refused or rolled back, as if the registry had just changed.
        """
        self._follower.ask_now()
        self._executor.do(self._rollout.retry(clock.now_s(), anew=anew))
        if anew:
            self._record.remember(self._rollout, self._executor.signature)

    def roll_back(self, reason: str, to: str | None = None) -> str:
        """Go back to the version before, or `to` another that served well; returns what happens now, in words.

        `to` is a version's number, or what it is called (NAME/NUMBER). Raises UsageError where it cannot be done.
        """
        executor, bad = self._executor, self._executor.serving
        try:
            target = self._offered(to) if to is not None else None
            actions = self._rollout.roll_back(reason, clock.now_s(), target)
        except CannotRollBack as error:
            raise UsageError(why_no_rollback(self._model, self._rollout, error)) from None
        self._record.sent_back(bad, SentBack(actions, "rolled back", reason))
        executor.do(actions)
        self._record.remember(self._rollout, executor.signature)
        serving = executor.serving
        if serving is not bad:
            return f"{serving.label if serving else 'nothing'} serves again"
        # Not warm any more; its bring-up may have to wait until another version's processes have ended.
        label = executor.candidate.label if executor.candidate else self._rollout.wanted
        return f"{label} is brought up {'again ' if self._rollout.held is not None else ''}and will take over"

    def pause(self, reason: str) -> None:
        """Change no version until `resume`. Raises UsageError where what serves is about to be replaced."""
        try:
            actions = self._rollout.pause(clock.now_s())
        except CannotPause as error:
            raise UsageError(f"model {self._model!r} cannot be paused: {error}; wait until it serves") from None
        self._record.ordered("paused", self._executor.serving, reason)
        self._executor.do(actions)
        self._record.remember(self._rollout, self._executor.signature)

    def resume(self, reason: str) -> None:
        """Follow the registry again, from now on."""
        actions = self._rollout.resume(clock.now_s())
        self._record.ordered("resumed", self._executor.serving, reason)
        self._executor.do(actions)
        self._record.remember(self._rollout, self._executor.signature)
        self._follower.ask_now()

    def _offered(self, to: str) -> Resolved | None:
        """The version that is meant; None where none is offered, because it is paused."""
        offered = self._rollout.offered
        found = next((one for one in offered if to in {one.version, str(one)}), None)
        if found is None and not self._rollout.paused:
            names = ", ".join(map(str, offered)) or "none"
            raise CannotRollBack(f"{to} is none that served well before what serves now; there are: {names}")
        return found


def why_no_rollback(model: str, rollout: Rollout[Resolved], error: CannotRollBack) -> str:
    """The reason, and what to do next."""
    if rollout.paused:
        next_step = f"; 'headrace resume {model}' first"
    elif rollout.held is not None:
        next_step = f"; 'headrace refresh {model} --anew' follows the registry again"
    else:
        next_step = ""
    return f"model {model!r} cannot be rolled back: {error}{next_step}"
