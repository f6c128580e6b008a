"""A resolved version as `core.rollout` compares it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

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


def with_reasons(marked: Mapping[Hashable, str]) -> list[tuple[Resolved, str]]:
    """What the rollout has marked, and why, as it is kept."""
    return [(resolved, reason) for identity, reason in marked.items() if (resolved := resolved_of(identity))]
