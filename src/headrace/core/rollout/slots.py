"""The versions of a rollout that have processes, each with its part: what serves, what comes, what is kept warm.

What several decisions have in common. It decides nothing: that is `Rollout`, which extends it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from headrace.core.rollout.actions import Action, Identity, Start, Stop
from headrace.core.rollout.lifecycle import Life, State


@dataclass
class Slot(Generic[Identity]):
    """One version: `confirmed` once the registry is known to point at it (a start may guess from the cache).

    `steps` are the shares of the traffic, in percent, that it has yet to do well with before it has all; `share` is
    what it has beside the one that serves.
    """

    identity: Identity
    life: Life
    confirmed: bool
    steps: tuple[int, ...] = ()
    share: int = 0


@dataclass
class Slots(Generic[Identity]):
    """See the module. Times are seconds on the caller's clock. `keep_old_s` 0 keeps no old version warm."""

    keep_old_s: float = 600.0

    slots: dict[str, Slot[Identity]] = field(default_factory=dict)
    serving: str | None = None
    candidate: str | None = None
    warm: str | None = None
    _warm_until_s: float = 0.0
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def identity(self, key: str | None) -> Identity | None:
        """The version in a slot; None where there is no slot."""
        return self.slots[key].identity if key is not None else None

    def set_steps(self, key: str, steps: Sequence[int]) -> None:
        """A version on its way up is to take over in these steps, in percent of the traffic."""
        if key == self.candidate:
            self.slots[key].steps = tuple(percent for percent in steps if percent < 100)

    def can_fail(self, key: str) -> bool:
        """Whether anything is lost with a version: what serves is never given up, and what drains is on its way out."""
        slot = self.slots.get(key)
        return slot is not None and key != self.serving and not slot.life.over and slot.life.state is not State.DRAINING

    def _start(self, identity: Identity, now_s: float, *, confirmed: bool) -> Start[Identity]:
        key = str(next(self._serial))
        self.slots[key] = Slot(identity, Life(since_s=now_s), confirmed)
        self.candidate = key
        return Start(key, identity)

    def _take_over(self, key: str, now_s: float, reason: str) -> str | None:
        """Have a version serve; returns what did before, which is kept warm."""
        old = self.serving
        if key == self.candidate:
            self.candidate = None
        if key == self.warm:
            self.warm = None
        self.slots[key].life.to(State.SERVING, now_s, reason)
        self.slots[key].steps, self.slots[key].share = (), 0
        self.serving = key
        if old is not None:
            self.slots[old].life.to(State.READY, now_s, "kept warm")
            self.warm, self._warm_until_s = old, now_s + self.keep_old_s
        return old

    def _abandon(self, now_s: float, reason: str) -> Stop:
        """End the candidate, which has served nobody, or (then it drains) a share."""
        key, self.candidate = self.candidate or "", None
        shared = self.slots[key].share > 0
        self.slots[key].share = 0
        self.slots[key].life.to(State.DRAINING if shared else State.STOPPED, now_s, reason)
        return Stop(key, drain=shared, reason=reason)

    def _retire(self, key: str, now_s: float, reason: str) -> Stop:
        """End what is kept warm."""
        self.warm = None
        self.slots[key].life.to(State.DRAINING, now_s, reason)
        return Stop(key, drain=True, reason=reason)

    def _stop_serving(self, now_s: float, reason: str) -> list[Action[Identity]]:
        """End what serves, after it has drained, and what is kept warm for it."""
        actions: list[Action[Identity]] = [self._retire(self.warm, now_s, reason)] if self.warm is not None else []
        if self.serving is not None:
            key, self.serving = self.serving, None
            self.slots[key].life.to(State.DRAINING, now_s, reason)
            actions.append(Stop(key, drain=True, reason=reason))
        return actions
