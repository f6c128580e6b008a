"""How far a version's replicas are with the faster form of its model, and what they have compared."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.core.protocol.worker_events import Compiled
from headrace.telemetry.logs import Log

_BEHIND = ("none", "proving", "shadow", "compiled")
"""States by how far they are; the version is as far as the last of its replicas. A refusal is all of theirs."""


class CompiledStates:
    """What the replicas of one version have said. `rows` are live rows that were answered by both forms, by result."""

    def __init__(self, log: Log) -> None:
        self.rows = {"equal": 0, "different": 0}
        self._log = log
        self._last: dict[str, Compiled] = {}
        self._told: str | None = None

    @property
    def _behind(self) -> Compiled | None:
        said = list(self._last.values())
        refused = [one for one in said if one.state == "refused"]
        return refused[0] if refused else min(said, key=lambda one: _BEHIND.index(one.state), default=None)

    @property
    def state(self) -> str | None:
        """`none`, `proving`, `shadow`, `compiled` or `refused`; None: nothing is known."""
        behind = self._behind
        return behind.state if behind is not None else None

    def hear(self, replica: str, told: Compiled) -> None:
        """A replica says how far it is."""
        before = self._last.get(replica)
        self._last[replica] = told
        self.rows["equal"] += max(0, told.equal_rows - (before.equal_rows if before else 0))
        self.rows["different"] += max(0, told.different_rows - (before.different_rows if before else 0))
        behind = self._behind
        if behind is None or behind.state == self._told:
            return
        self._told = behind.state
        if behind.state == "refused":
            self._log.warning("faster form refused", form=behind.form, reason=behind.reason)
        elif behind.state == "none":
            self._log.debug("no faster form", reason=behind.reason)
        else:
            self._log.info("faster form", state=behind.state, form=behind.form, proved_rows=behind.proved_rows)

    def forget(self, replica: str) -> None:
        """A replica has ended; what it has compared stays counted."""
        self._last.pop(replica, None)

    def describe(self) -> dict[str, Any] | None:
        """The version's state as data; None where nothing is known."""
        behind = self._behind
        if behind is None:
            return None
        told = msgspec.to_builtins(behind)
        return {**told, "equal_rows": self.rows["equal"], "different_rows": self.rows["different"]}
