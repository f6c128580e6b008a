"""Reads the counters of the gateways every two seconds, so that the admin port can show the last 15 minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from headrace.core.telemetry.recent import Figures, Recent
from headrace.core.telemetry.totals import Sample
from headrace.telemetry.logs import Log

STEP_S = 2.0
KEPT_S = 900.0


class Sampler:
    """Owns `recent`; what shows it waits for `news`.

    `on_fed` is called after each look. `news` is set when `recent` is fed again or `wake` is called, and is another
    event then: who takes it before looking at what is to be shown misses nothing that happens meanwhile.
    """

    def __init__(
        self,
        samples: Callable[[], Awaitable[list[Sample]]],
        log: Log,
        on_fed: Callable[[], None] = lambda: None,
    ) -> None:
        self.recent = Recent(int(KEPT_S / STEP_S))
        self._samples = samples
        self._on_fed = on_fed
        self._log = log
        self.news = asyncio.Event()

    async def run(self) -> None:
        """Feed it until cancelled."""
        due_s = time.monotonic()
        while True:
            try:
                self.recent.feed(await self._samples(), time.monotonic())
                self._on_fed()
            except Exception as error:  # noqa: BLE001 - what is only shown must not end what serves
                self._log.exception("the counters could not be read", exc_info=error)
            self.wake()
            due_s = max(due_s + STEP_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def past(self, model: str, version: str) -> Figures:
        """All figures of a version that are kept, up to now."""
        self.recent.feed(await self._samples(), time.monotonic())
        return self.recent.figures(model, version, steps=self.recent.fed)

    def wake(self) -> None:
        """Wake all that wait for `news`, although there may be none."""
        self.news.set()
        self.news = asyncio.Event()
