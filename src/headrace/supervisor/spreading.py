"""Spreads what is done at intervals, so that many machines and many models do not do it in the same moment."""

from __future__ import annotations

import random


def spread_s(interval_s: float) -> float:
    """Seconds to wait this time, for something done every `interval_s` seconds: up to a tenth less or more."""
    return interval_s * (0.9 + random.random() / 5)  # noqa: S311 - spreads the load, guards nothing
