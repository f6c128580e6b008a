"""The time that rollouts are decided by. It goes on evenly, also when the machine's clock is set."""

from __future__ import annotations

import time

_BEGAN_S = time.time() - time.monotonic()


def now_s() -> float:
    """Unix time, as it was when this process was started and with all that has passed since."""
    return _BEGAN_S + time.monotonic()


def unix_s(moment_s: float) -> float:
    """When such a moment was by what the machine's clock says now: for people, who compare it with that."""
    return moment_s - now_s() + time.time()
