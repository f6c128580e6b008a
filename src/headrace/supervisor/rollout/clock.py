"""The clock of rollouts. It runs evenly, also when the clock of the machine is set."""

from __future__ import annotations

import time

_BEGAN_S = time.time() - time.monotonic()


def now_s() -> float:
    """Unix time at the start of this process plus the time since then."""
    return _BEGAN_S + time.monotonic()


def unix_s(moment_s: float) -> float:
    """A time of this clock as Unix time of the machine's present clock, for people."""
    return moment_s - now_s() + time.time()
