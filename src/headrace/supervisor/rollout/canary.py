"""A canary: an alias with a share, or a copy, of the traffic of another alias. Its special rules are here.

What serves beside it, or was sent back there, is not brought up again. It is compared with the main version all the
time, and gives its share back to that one when it does badly or its alias is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.config.tree import Rollout as RolloutConfig
from headrace.core.identity import Resolved
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout.baking import bake
from headrace.supervisor.rollout.dependencies import Traffic
from headrace.supervisor.rollout.policy import AliasPolicy, Objection, SentBack
from headrace.supervisor.rollout.status import Kind, Status
from headrace.supervisor.rollout.version import Version


class Neighbour(Protocol):
    """Another alias of the same model, as a canary sees it."""

    @property
    def serving(self) -> Version | None:
        """The version that this alias serves."""

    def why_sent_back(self, resolved: Resolved) -> str:
        """Why it has stopped serving a version; empty if there was no problem."""


class Neighbours:
    """The aliases that come before a canary, the main one first."""

    def __init__(self, aliases: Sequence[Neighbour]) -> None:
        self._aliases = [*aliases]

    def forget(self, alias: Neighbour) -> None:
        """An alias is not followed any more."""
        self._aliases = [one for one in self._aliases if one is not alias]

    @property
    def main(self) -> Version | None:
        """The version that the main alias serves, which gives the share of its traffic."""
        return self._aliases[0].serving

    def serving(self, resolved: Resolved) -> Version | None:
        """The version that one of them serves already, if it is this one."""
        served = (alias.serving for alias in self._aliases)
        return next((version for version in served if version is not None and version.resolved == resolved), None)

    def why_sent_back(self, resolved: Resolved) -> str:
        """Why one of them has stopped serving this version; empty if there was no problem."""
        return next((reason for alias in self._aliases if (reason := alias.why_sent_back(resolved))), "")


class CanaryPolicy(AliasPolicy):
    """The rules of a canary."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours

    def objection(self, resolved: Resolved) -> Objection | None:
        """The version serves under another alias already, or was sent back there."""
        if self._neighbours.serving(resolved) is not None:
            shared = Status(Kind.SHARED, "another alias serves it already", str(resolved), shared=resolved)
            return Objection(shared, "resting", "it serves elsewhere")
        why = self._neighbours.why_sent_back(resolved)
        if not why:
            return None
        sent_back = Status(Kind.SENT_BACK, f"sent back where it had all the traffic: {why}", str(resolved))
        return Objection(sent_back, "no share", "it was sent back")

    def absent(self, why: str) -> Objection | None:
        """The main version has the share."""
        return Objection(Status(Kind.MISSING, why), "no share", "its alias is gone", ends=True)

    def hint(self, last_asked: Resolved | None, last_pointed: Resolved | None) -> Resolved | None:  # noqa: ARG002
        """What this alias followed last: a share that was ended does not come back because the registry is away."""
        return last_pointed

    def compared_with(self, serving: Version | None) -> Version | None:  # noqa: ARG002
        """The main version."""
        return self._neighbours.main

    def has_fallback(self, rollout: Rollout[Resolved]) -> bool:  # noqa: ARG002
        """The main version can always serve."""
        return True

    def steps(self, config: RolloutConfig, *, doubtful: bool) -> tuple[int, ...]:  # noqa: ARG002
        """It has a share already."""
        return ()

    def is_watched(self, old: Version | None) -> bool:  # noqa: ARG002
        """The main version serves beside it."""
        return True

    async def watch(
        self,
        traffic: Traffic,
        config: RolloutConfig,
        model: str,
        version: Version,
        old: Version | None,  # noqa: ARG002
    ) -> str | None:
        """Beside the main version, over the same time."""
        return await bake(traffic, config, model, version, lambda: self._neighbours.main, together=True)

    def send_back(self, rollout: Rollout[Resolved], version: Version, reason: str, now_s: float) -> SentBack:
        """Give the share back."""
        status = Status(Kind.WITHDRAWN, reason, version.label)
        return SentBack(rollout.withdraw(reason, now_s), "withdrawn", reason, status)
