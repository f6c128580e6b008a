"""The life of one served version, as a table with one writer: a transition that is not in it raises.

    RESOLVED -> FETCHED -> ENVIRONMENT_READY -> LOADING -> WARMING -> READY -> SERVING -> DRAINING -> STOPPED

and FAILED from any state before STOPPED. SERVING goes back to READY when another version takes over and this one is
kept warm, and from there to SERVING again: that is a rollback.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class State(enum.StrEnum):
    """Where a version is in its life."""

    RESOLVED = "RESOLVED"
    FETCHED = "FETCHED"
    ENVIRONMENT_READY = "ENVIRONMENT_READY"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    SERVING = "SERVING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


_NEXT: dict[State, frozenset[State]] = {
    State.RESOLVED: frozenset({State.FETCHED, State.STOPPED}),
    State.FETCHED: frozenset({State.ENVIRONMENT_READY, State.STOPPED}),
    State.ENVIRONMENT_READY: frozenset({State.LOADING, State.STOPPED}),
    State.LOADING: frozenset({State.WARMING, State.STOPPED}),
    State.WARMING: frozenset({State.READY, State.LOADING, State.STOPPED}),
    State.READY: frozenset({State.SERVING, State.DRAINING, State.STOPPED}),
    State.SERVING: frozenset({State.READY, State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED, State.SERVING}),
    State.FAILED: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


class IllegalTransition(Exception):
    """A bug in the caller: a version was sent where its state does not lead."""


@dataclass
class Life:
    """One version's state and how it came there. `reason` says why it is FAILED; times are the caller's clock."""

    state: State = State.RESOLVED
    reason: str = ""
    since_s: float = 0.0
    past: list[tuple[float, State, str]] = field(default_factory=list)

    def to(self, state: State, now_s: float, reason: str = "") -> None:
        """Move to `state`; raises IllegalTransition where the table has no such step."""
        failing = state is State.FAILED and self.state not in {State.STOPPED, State.FAILED}
        if state not in _NEXT[self.state] and not failing:
            raise IllegalTransition(f"{self.state} -> {state}")
        self.past.append((now_s, self.state, self.reason))
        self.state, self.since_s, self.reason = state, now_s, reason

    @property
    def over(self) -> bool:
        """Whether this version will never serve again."""
        return self.state in {State.STOPPED, State.FAILED}
