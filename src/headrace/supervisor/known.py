"""A resolved version as `core.rollout` compares it."""

from __future__ import annotations

from headrace.core.identity import Resolved


class Known:
    """Equal where the version is, however it was asked for."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self.resolved.identity == other.resolved.identity

    def __hash__(self) -> int:
        return hash(self.resolved.identity)

    def __repr__(self) -> str:
        return f"{self.resolved.name or self.resolved.source}/{self.resolved.version or ''}".rstrip("/")


def known(resolved: Resolved | None) -> Known | None:
    """`resolved` for the rollout; None stays None."""
    return Known(resolved) if resolved is not None else None


def resolved_of(identity: object) -> Resolved | None:
    """What the rollout calls `identity`; None where it names nothing."""
    return identity.resolved if isinstance(identity, Known) else None
