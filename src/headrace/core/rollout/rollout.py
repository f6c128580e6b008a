"""Which version of a model serves: one pure object that is told what happened and says what to do.

It knows at most four versions of a model at a time: the one that serves, a candidate that is being brought up, the one
that served before and is kept warm for a rollback, and one that drains. It owns their `Life`; nothing else moves it.
Of what has served before it remembers the names, to go back to; a version that was sent back is no longer one of them.

What it promises (and the stateful tests hold it to): once a version serves, one always does (but for `rest` and
`withdraw`, for what takes a share of another's traffic); only a READY version is ever made to serve; a version marked
bad does not come back until the registry points elsewhere; beside the serving version there is never more than one
other with processes, but for the moment in which one drains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.core.rollout.actions import Action, Flip, Identity, Share, Stop
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.marks import Marks
from headrace.core.rollout.slots import Slot, Slots

_MOST_SERVED = 5


class CannotRollBack(Exception):
    """There is no earlier version to go back to, or none that may be chosen; says why."""


class CannotPause(Exception):
    """What serves is about to be replaced; says why."""


@dataclass
class Rollout(Slots[Identity]):
    """See the module. Times are seconds on the caller's clock.

    `fixed`: the version stands in the configuration (a number, a directory), and no registry says otherwise. While
    `paused`, `pinned` is what should serve, wherever the registry points (None: what does not serve yet does not come).
    `fares_well` is how what serves does now; `ill` are those of `served` that did badly when something else took over,
    and are not offered again.
    """

    fixed: bool = False
    marks: Marks[Identity] = field(default_factory=Marks)

    registry: Identity | None = None
    held: Identity | None = None
    paused: bool = False
    pinned: Identity | None = None
    served: list[Identity] = field(default_factory=list)
    ill: set[Identity] = field(default_factory=set)
    pointed_at: Identity | None = None
    fares_well: bool = True
    _asked: bool = False

    # What happens.

    def restore(
        self,
        served: Sequence[Identity],
        pointed_at: Identity | None,
        held: Identity | None,
        sent_back: Mapping[Identity, str],
        refused: Mapping[Identity, str],
        *,
        ill: Sequence[Identity] = (),
        paused: bool = False,
        pinned: Identity | None = None,
    ) -> None:
        """Take over what was known before a restart: see the names; `served` has the oldest first.

        `pointed_at` is what the registry said last. What a check has refused is checked again, for the checks may have
        changed, but not before something else serves that it can be compared with, where there is any.
        """
        self.served, self.pointed_at, self.held = list(served), pointed_at, held
        self.ill, self.paused, self.pinned = set(ill), paused, pinned
        self.marks.restore(sent_back, refused)

    def likely(self, hint: Identity | None) -> Identity | None:
        """What will most likely be wanted, before the registry has answered; `hint` is what it said last."""
        if self.paused or self.held is not None:
            return self.wanted
        return hint if hint is not None and hint not in self.marks else next(iter(self._earlier()), None)

    def guess(self, identity: Identity, now_s: float) -> list[Action[Identity]]:
        """Begin to bring up what is `likely`, before the registry has answered."""
        if self.slots or self.registry is not None or identity in self.marks:
            return []
        return [self._start(identity, now_s, confirmed=identity in {self.held, self.pinned})]

    def pointed(self, identity: Identity, now_s: float) -> list[Action[Identity]]:
        """The registry points at `identity` now."""
        self._asked = True
        if identity != self.pointed_at:
            # The registry has changed: whatever was decided against its former answer is void.
            self.held = None
            self.marks.clear()
        self.registry = self.pointed_at = identity
        return self._settle(now_s)

    def unreachable(self, now_s: float) -> list[Action[Identity]]:
        """The registry cannot be asked: where nothing serves, the guess will have to do."""
        self._asked = True
        slot = self.slots.get(self.candidate or "")
        if self.serving is None and slot is not None:
            slot.confirmed = True
        return self._settle(now_s)

    def progressed(self, key: str, state: State, now_s: float) -> list[Action[Identity]]:
        """A version on its way up has reached `state`."""
        if key == self.candidate:
            self.slots[key].life.to(state, now_s)
        return self._settle(now_s)

    def stepped(self, key: str, now_s: float) -> list[Action[Identity]]:
        """A version has done well with its share: the next step, or all of the traffic."""
        slot = self.slots.get(key)
        if slot is not None and key == self.candidate and slot.share:
            slot.steps, slot.share = slot.steps[1:], 0
        return self._settle(now_s)

    def withdraw_candidate(self, key: str, reason: str, now_s: float) -> list[Action[Identity]]:
        """The candidate has done badly with its share: it ends, and does not come back until the registry changes."""
        slot = self.slots.get(key)
        if slot is None or key != self.candidate or not slot.share:
            return []
        self._send_back(slot.identity, reason)
        return [self._abandon(now_s, reason), *self._settle(now_s)]

    def failed(
        self, key: str, reason: str, now_s: float, *, for_good: bool = False, wrong: bool = False
    ) -> list[Action[Identity]]:
        """A version could not be brought up, or (`for_good`) was refused by a check.

        `wrong`: for what it answers, whatever it would replace. Then nobody goes back to it, though it has served.
        """
        if not self.can_fail(key):
            return []
        slot = self.slots[key]
        slot.life.to(State.FAILED, now_s, reason)
        if key == self.candidate:
            self.candidate = None
            self.marks.failed(slot.identity, reason, now_s, refused=for_good)
            if wrong:
                self._forget(slot.identity)
        elif key == self.warm:
            self.warm = None
        return [Stop(key, drain=False, reason=reason), *self._settle(now_s)]

    def ended(self, key: str, now_s: float) -> list[Action[Identity]]:
        """A version's last process is gone."""
        slot = self.slots.pop(key, None)
        if slot is not None and slot.life.state is not State.STOPPED:
            slot.life.to(State.STOPPED, now_s, slot.life.reason)
        if key == self.candidate:
            self.candidate = None
        if key == self.warm:
            self.warm = None
        return self._settle(now_s)

    def pause(self, now_s: float) -> list[Action[Identity]]:
        """Keep what serves until `resume`, also when the registry points elsewhere; raises CannotPause."""
        current = self.identity(self.serving)
        if current is not None and self.marks.was_sent_back(current):
            raise CannotPause(f"{current} was sent back, and another version is about to replace it")
        self.paused, self.pinned = True, current
        return self._settle(now_s)

    def resume(self, now_s: float) -> list[Action[Identity]]:
        """Follow the registry again. What was to serve for the pause alone waits until the registry was asked."""
        self.paused, self.pinned = False, None
        candidate = self.slots.get(self.candidate or "")
        if candidate is not None and not self._asked:
            candidate.confirmed = candidate.identity == self.held
        return self._settle(now_s)

    def roll_back(self, reason: str, now_s: float, to: Identity | None = None) -> list[Action[Identity]]:
        """Go back to the version that served before (or `to` one of `offered`), and hold it until the registry changes.

        At once where that is still warm, else as soon as it is up again. What served is marked bad; a second rollback
        goes further back. Raises CannotRollBack where there is nothing to go back to.
        """
        return self._go_back(self.offered, to, reason, now_s)

    def send_back(self, reason: str, now_s: float) -> list[Action[Identity]]:
        """The version that serves does badly: `roll_back`, unless the registry points elsewhere already.

        Then that one takes over when it is ready, and what served before only if it cannot. One that did badly itself
        is better than this, where there is no other. Raises CannotRollBack.
        """
        serving = self.slots.get(self.serving or "")
        if serving is None or self.wanted in {None, serving.identity}:
            return self._go_back(self.offered or self._earlier(), None, reason, now_s)
        self._send_back(serving.identity, reason)
        return self._settle(now_s)

    def withdraw(self, reason: str, now_s: float) -> list[Action[Identity]]:
        """The version that serves does badly, and another can have its share: serve nothing until the registry changes.

        Where the registry points elsewhere already, that version is brought up.
        """
        if self.serving is None:
            return []
        self._send_back(self.slots[self.serving].identity, reason)
        self.held = self.pinned = None
        self.served.clear()
        actions = self._stop_serving(now_s, reason)
        if self.candidate is not None and self.identity(self.candidate) != self.registry:
            actions.append(self._abandon(now_s, reason))
        return [*actions, *self._settle(now_s)]

    def retry(self, now_s: float, *, anew: bool = False) -> list[Action[Identity]]:
        """Try again now what failed for a reason that may have passed; `anew`: as if the registry had just changed."""
        if anew:
            self.held = None
            self.marks.clear()
        self.marks.retry(now_s)
        return self._settle(now_s)

    def rest(self, now_s: float, reason: str) -> list[Action[Identity]]:
        """Nothing is wanted here any more: end everything, what serves after it has drained. `pointed` begins anew."""
        actions: list[Action[Identity]] = [self._abandon(now_s, reason)] if self.candidate is not None else []
        actions += self._stop_serving(now_s, reason)
        self.registry = self.held = self.pinned = self.pointed_at = None
        self.served.clear()
        self.marks.clear()
        return actions

    def tick(self, now_s: float) -> list[Action[Identity]]:
        """Time has passed: a warm version may have been kept long enough, a failed one may be tried again."""
        if self.warm is not None and now_s >= self._warm_until_s:
            return [self._retire(self.warm, now_s, "kept long enough"), *self._settle(now_s)]
        return self._settle(now_s)

    # What there is.

    @property
    def wanted(self) -> Identity | None:
        """What should serve: what it is paused at, else what is held after a rollback, else what the registry says."""
        if self.paused:
            return self.pinned
        return self.held if self.held is not None else self.registry

    @property
    def offered(self) -> list[Identity]:
        """What a rollback may go back to, the newest first: it has served well, and is not on its way already."""
        if self.serving is None or self.paused:
            return []
        on_its_way = {self.wanted, self.identity(self.candidate)}
        return [identity for identity in self._earlier() if identity not in on_its_way and identity not in self.ill]

    def goes_back(self, key: str) -> bool:
        """Whether a version is brought up although the registry points elsewhere: it has served, and is needed."""
        slot = self.slots.get(key)
        return slot is not None and self.registry is not None and slot.identity != self.registry

    def replaces_last(self, key: str) -> bool:
        """Whether a version takes the place of another that served last and, for all that is known, still can."""
        slot, last = self.slots.get(key), self.served[-1] if self.served else None
        return slot is not None and last is not None and last != slot.identity and last not in self.marks

    @property
    def has_fallback(self) -> bool:
        """Whether refusing the candidate leaves something that can serve."""
        candidate = self.slots.get(self.candidate or "")
        return self.serving is not None or (
            candidate is not None and any(identity != candidate.identity for identity in self._earlier())
        )

    # Inside.

    def _settle(self, now_s: float) -> list[Action[Identity]]:
        actions: list[Action[Identity]] = []
        target = self._target(now_s)
        candidate = self.slots.get(self.candidate or "")
        if candidate is not None and self.paused and candidate.identity != target:
            actions.append(self._abandon(now_s, "no version is changed while it is paused"))
            candidate = None
        if candidate is not None and target is not None:
            if candidate.identity == target:
                candidate.confirmed = True
            elif self.registry is not None or self.held is not None:
                actions.append(self._abandon(now_s, "another version is wanted now"))
                candidate = None
        if candidate is not None and candidate.confirmed and candidate.life.state is State.READY:
            if not _goes_in_steps(self, candidate):
                actions.append(self._flip(self.candidate or "", now_s))
                return [*actions, *self._settle(now_s)]
            if not candidate.share:
                candidate.share = candidate.steps[0]
                actions.append(Share(self.candidate or "", candidate.share))
            return actions
        if target is None or self.identity(self.serving) == target or candidate is not None:
            return actions
        if self.identity(self.warm) == target:
            actions.append(self._flip(self.warm or "", now_s))
        elif self.warm is not None:
            actions.append(self._retire(self.warm, now_s, "to make room for the next version"))
        elif all(key == self.serving for key in self.slots):
            actions.append(self._start(target, now_s, confirmed=True))
        return actions

    def _target(self, now_s: float) -> Identity | None:
        """What to bring up or keep: the wanted version if nothing speaks against it, else what is better than none."""
        current = self.identity(self.serving)
        if self.paused and self.pinned is None:
            return current
        needed = self._asked if current is None else self.marks.was_sent_back(current)
        choices: list[Identity] = [i for i in (self.wanted, *(self._earlier() if needed else ())) if i is not None]
        for identity in choices:
            if identity not in self.marks:
                return identity
        for identity in choices:
            if self.marks.is_due(identity, now_s):
                return identity
        return current

    def _earlier(self) -> list[Identity]:
        """What has served before, the newest first, without what serves now and what was refused since."""
        current, bad = self.identity(self.serving), self.marks.bad
        return [identity for identity in reversed(self.served) if identity != current and identity not in bad]

    def _go_back(
        self, choices: Sequence[Identity], to: Identity | None, reason: str, now_s: float
    ) -> list[Action[Identity]]:
        serving, target = self.slots.get(self.serving or ""), to if to is not None else next(iter(choices), None)
        if self.paused:
            raise CannotRollBack("it is paused, and no version is changed before it is resumed")
        if serving is None or target is None:
            raise CannotRollBack("no other version is known that served well before this one")
        if target not in choices:
            others = ", ".join(map(str, choices)) or "none"
            raise CannotRollBack(f"{target} is none that served well before this one; there are: {others}")
        self._send_back(serving.identity, reason)
        # What served between the two is passed over: a second rollback goes further back.
        self.served = self.served[: self.served.index(target) + 1]
        self.marks.remove(target)
        self.held = target
        return self._settle(now_s)

    def _send_back(self, identity: Identity, reason: str) -> None:
        self.marks.send_back(identity, reason)
        self._forget(identity)

    def _forget(self, identity: Identity) -> None:
        """Nobody goes back to it."""
        self.served = [i for i in self.served if i != identity]
        self.ill.discard(identity)

    def _flip(self, key: str, now_s: float) -> Flip:
        identity = self.slots[key].identity
        reason = _why(self, identity, again=key == self.warm)
        former = self.identity(self.serving)
        old = self._take_over(key, now_s, reason)
        self.marks.remove(identity)
        self.served = [*(i for i in self.served if i != identity), identity][-_MOST_SERVED:]
        if former is not None and not self.fares_well:
            self.ill.add(former)
        self.ill = {i for i in self.ill if i in self.served and i != identity}
        self.fares_well = True
        return Flip(key, old, reason)


def _goes_in_steps(rollout: Rollout[Identity], slot: Slot[Identity]) -> bool:
    """Whether it takes over in steps: beside one that does well, and unless it has shown before that it does."""
    current = rollout.identity(rollout.serving)
    beside = current is not None and not rollout.marks.was_sent_back(current)
    return bool(slot.steps) and beside and slot.identity not in rollout.served


def _why(rollout: Rollout[Identity], identity: Identity, *, again: bool) -> str:
    """Why a version takes over, for the history."""
    if identity == rollout.held:
        return "rolled back"
    if identity == rollout.pinned:
        return "it is paused, and this one served"
    if rollout.fixed:
        return "the configuration names it"
    if identity == rollout.registry:
        return "the registry points at it again" if again else "the registry points at it"
    if rollout.registry is None:
        return "the registry cannot be asked, and pointed at it before"
    return "it served before, and what the registry points at cannot"
