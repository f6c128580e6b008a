"""The actions of a rollout, carried out by `supervisor/rollout/executor.py`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Identity = TypeVar("Identity", bound=Hashable)
"""What identifies a version: two that mean the same one are equal."""


@dataclass(frozen=True)
class Start(Generic[Identity]):
    """Bring a version up: fetch, build, load, warm, check; then say `progressed` (up to READY) or `failed`."""

    key: str
    identity: Identity


@dataclass(frozen=True)
class Share:
    """Give this version so many percent of the traffic, watch it, then say `stepped` or `withdraw_candidate`."""

    key: str
    percent: int


@dataclass(frozen=True)
class Flip:
    """Move all traffic to this version, in one step."""

    key: str
    old: str | None
    reason: str


@dataclass(frozen=True)
class Stop:
    """End a version's processes, after what it has in flight where `drain`; then say `ended`."""

    key: str
    drain: bool
    reason: str


Action = Start[Identity] | Share | Flip | Stop
