"""Takes the gateways' counters every two seconds, so that the admin port can tell the last 15 minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from headrace.core.recent import Recent
from headrace.core.totals import Sample

STEP_S = 2.0
KEPT_S = 900.0


class Recorder:
    """Owns `recent`; whoever shows it waits for `after`."""

    def __init__(self, samples: Callable[[], Awaitable[list[Sample]]]) -> None:
        self.recent = Recent(int(KEPT_S / STEP_S))
        self._samples = samples
        self._fed = asyncio.Condition()

    async def run(self) -> None:
        """Feed it until cancelled."""
        due_s = time.monotonic()
        while True:
            self.recent.feed(await self._samples(), time.monotonic())
            async with self._fed:
                self._fed.notify_all()
            due_s = max(due_s + STEP_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def after(self, fed: int) -> int:
        """Wait until it was fed more often than `fed` times; returns how often now."""
        async with self._fed:
            await self._fed.wait_for(lambda: self.recent.fed > fed)
        return self.recent.fed
