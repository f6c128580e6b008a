"""The rules of an alias that has all the traffic of a model. For those of a canary see `canary`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.config.tree import Rollout as RolloutConfig
from headrace.core.identity import Resolved
from headrace.core.rollout.actions import Action
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout.baking import bake
from headrace.supervisor.rollout.dependencies import Traffic
from headrace.supervisor.rollout.status import Status
from headrace.supervisor.rollout.version import Version

DOUBTFUL_STEPS = (1, 10, 100)
"""How one takes over that failed on an example made up for it."""


@dataclass(frozen=True)
class Objection:
    """Why nothing is to serve here: `event` is the log's name for it, `because` what is said of a version that ends.

    `ends`: the history says so, too.
    """

    status: Status
    event: str
    because: str
    ends: bool = False


@dataclass(frozen=True)
class SentBack:
    """What is done about a version that does badly: `event` is its name in the history, `status` what it leaves."""

    actions: list[Action[Resolved]]
    event: str
    reason: str
    status: Status | None = None


class AliasPolicy:
    """The rules of an alias that has all the traffic, or what its canaries leave of it."""

    def objection(self, resolved: Resolved) -> Objection | None:  # noqa: ARG002 - a canary's depends on it
        """Why a version that the registry points at is not brought up here; None where nothing speaks against it."""
        return None

    def absent(self, why: str) -> Objection | None:  # noqa: ARG002 - as above
        """The status if the alias is gone; None: what serves goes on serving."""
        return None

    def hint(self, last_asked: Resolved | None, last_pointed: Resolved | None) -> Resolved | None:  # noqa: ARG002
        """What the registry will say, by what it said last: to anybody (`last_asked`), or to this alias."""
        return last_asked

    def compared_with(self, serving: Version | None) -> Version | None:
        """The version that a new one has to do as well as."""
        return serving

    def has_fallback(self, rollout: Rollout[Resolved]) -> bool:
        """Whether there is something that can serve where a candidate is refused."""
        return rollout.has_fallback

    def steps(self, config: RolloutConfig, *, doubtful: bool) -> tuple[int, ...]:
        """The shares of the traffic, in percent, with which a new version begins; empty: it takes over at once."""
        if config.bake_s <= 0:
            return ()  # nobody would look how it does
        return config.steps if config.steps is not None else DOUBTFUL_STEPS if doubtful else ()

    def is_watched(self, old: Version | None) -> bool:
        """Whether a version that takes over from `old` can be compared with anything."""
        return old is not None

    async def watch(
        self, traffic: Traffic, config: RolloutConfig, model: str, version: Version, old: Version | None
    ) -> str | None:
        """Watch a version that has taken over; returns why it does badly, or None at the end: see `baking.bake`."""
        return await bake(traffic, config, model, version, lambda: old, together=False)

    def send_back(self, rollout: Rollout[Resolved], version: Version, reason: str, now_s: float) -> SentBack:  # noqa: ARG002
        """Have something else serve than `version`; raises CannotRollBack where there is nothing."""
        reason = f"after it took over, {reason}"
        return SentBack(rollout.send_back(reason, now_s), "rolled back", reason)


class SuccessorPolicy(AliasPolicy):
    """The rules of an alias that is brought up with other settings beside what serves; `former` is that, while it does.

    So it has to do as well as that one, and what a check refuses does not take over.
    """

    def __init__(self, former: Callable[[], Version | None]) -> None:
        self._former = former

    def compared_with(self, serving: Version | None) -> Version | None:
        """The version that a new one has to do as well as."""
        return serving or self._former()

    def has_fallback(self, rollout: Rollout[Resolved]) -> bool:
        """Whether there is something that can serve where a candidate is refused."""
        return self._former() is not None or rollout.has_fallback
