"""Detects an event loop that hangs: it is pinged at intervals, and must not be silent for too long.

Pure: time is a number of seconds on a clock that does not go back. A watcher that was itself kept from running
(stopped, frozen with its container, starved) has heard nothing for a reason of its own: it begins to count anew.
"""

from __future__ import annotations

_ASKS = 4
"""How often one is asked within the limit: a single answer that is late by accident means nothing."""


class Watchdog:
    """Watches one process: it may be silent for `limit_s` seconds. Call `tick` every `every_s` seconds."""

    def __init__(self, limit_s: float, now_s: float) -> None:
        self.limit_s = limit_s
        self.every_s = limit_s / _ASKS
        self._heard_s = now_s
        self._ticked_s = now_s

    def heard(self, now_s: float) -> None:
        """The process has sent something."""
        self._heard_s = now_s

    def tick(self, now_s: float) -> float | None:
        """None: ping it. A number: it has been silent for that many seconds, and is to be replaced."""
        away = now_s - self._ticked_s > 2 * self.every_s
        self._ticked_s = now_s
        if away:
            self._heard_s = now_s
        silent_s = now_s - self._heard_s
        return silent_s if silent_s >= self.limit_s else None
