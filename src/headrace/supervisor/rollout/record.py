"""Records what happens to one alias: in its status, the log, the history and the state for the next start."""

from __future__ import annotations

import time

from headrace.core.identity import Resolved
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout.history import History, Memory
from headrace.supervisor.rollout.policy import Objection, SentBack
from headrace.supervisor.rollout.status import FINE, Failure, Kind, Status
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log


class AliasRecord:
    """The only one that writes `status` and `failure`; `rollbacks` counts what was sent back, by hand or by itself."""

    def __init__(self, history: History, log: Log) -> None:
        self.status = FINE
        self.failure: Failure | None = None
        self.rollbacks = 0
        self._history = history
        self._log = log

    def serves(self, version: Version, old: Version | None, reason: str) -> None:
        """A version has taken over from `old`."""
        self.status, self.failure = FINE, None
        self._history.add("serving", version.label, reason, replaced=old.label if old else None)

    def failed(self, version: Version, reason: str, *, refused: bool) -> None:
        """A version did not come up, or a check has refused it."""
        self.status = Status(Kind.REFUSED if refused else Kind.FAILED, reason, version.label)
        environment = version.prepared.describe() if version.prepared else None
        self.failure = Failure(version.label, reason, time.time(), environment)
        self._history.add("refused" if refused else "failed", version.label, reason)

    def shares(self, version: Version, percent: int) -> None:
        """A version that is on its way to serve has a part of the traffic."""
        made_up = version.made_up
        why = f"; its made-up example failed: {made_up.reason}" if made_up is not None and made_up.failed else ""
        self._history.add("step", version.label, f"{percent} % of the traffic{why}")

    def sent_back(self, version: Version | None, sent_back: SentBack) -> None:
        """A version is sent back, because it does badly or by an order."""
        self.status = sent_back.status or self.status
        self.rollbacks += 1
        label = version.label if version else None
        self._history.add(sent_back.event, label or "", sent_back.reason)
        self._log.warning(sent_back.event, version=label, reason=sent_back.reason)

    def ordered(self, event: str, version: Version | None, reason: str) -> None:
        """An operator has paused it, or has it go on."""
        label = version.label if version else ""
        self._history.add(event, label, reason)
        self._log.info(event, version=label or None, reason=reason)

    def not_replaced(self, version: Version, reason: str, why: str) -> None:
        """A version does badly, and serves on: nothing can take its place."""
        self.status = Status(Kind.DOES_BADLY, f"{reason}; {why}", version.label)
        self._log.error("does badly", version=version.label, reason=reason, kept=version.label, why=why)

    def withdrawn_before(self, resolved: Resolved, why: str) -> None:
        """The registry points at a version that was withdrawn or rolled back before a restart."""
        self.status = Status(Kind.WITHDRAWN, why, str(resolved))

    def objected(self, objection: Objection, serving: Version | None) -> bool:
        """Nothing is to serve here; returns False where that is known already."""
        if objection.status == self.status:
            return False
        log = self._log.warning if objection.status.problem else self._log.info
        log(objection.event, version=objection.status.version or None, reason=objection.status.text)
        if objection.ends and serving is not None:
            self._history.add("ended", serving.label, objection.because)
        self.status, self.failure = objection.status, None
        return True

    def followed(self) -> None:
        """The registry points at something to follow."""
        if self.status.kind in {Kind.MISSING, Kind.SHARED}:
            self.status = FINE

    def broke(self, what: str, error: Exception, kept: Version | None) -> None:
        """An error of headrace's own: it is told in the log and as the status, and never lost."""
        self.status = Status(Kind.BROKEN, f"{what}: {type(error).__name__}: {error}")
        self._log.exception(what, exc_info=error, kept=kept.label if kept else None)

    def stopped(self, error: Exception) -> None:
        """The alias is not followed any more; what serves goes on serving."""
        self.status = Status(Kind.BROKEN, f"the alias is not followed any more: {type(error).__name__}: {error}")

    def remember(self, rollout: Rollout[Resolved], signature: dict[str, object] | None) -> None:
        """Keep what the next start must know."""
        self._history.remember(
            Memory(
                served=list(rollout.served),
                pointed_at=rollout.pointed_at,
                held=rollout.held,
                sent_back=list(rollout.marks.sent_back.items()),
                refused=list(rollout.marks.refused.items()),
                ill=list(rollout.ill),
                paused=rollout.paused,
                pinned=rollout.pinned,
                signature=signature,
            )
        )

    def recall(self) -> Memory:
        """The state that the last run has kept. Reads a file."""
        return self._history.recall()
