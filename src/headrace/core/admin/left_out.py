"""Summarises which models of a registry are not served, in a bounded number of lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_MOST_NAMES = 10


def by_reason(left_out: Mapping[str, str]) -> list[tuple[str, str]]:
    """[(models, reason)]: models with the same reason together, the first of them by name."""
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    return [(_shown(sorted(names)), why) for why, names in reasons.items()]


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
