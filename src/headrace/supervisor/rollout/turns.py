"""Limits how many models are loaded at a time, for a load takes a whole core and much memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace.supervisor.processes.cores import available_cores

LONG_S = 30.0
"""A load that takes longer mostly waits, for a download or a database: others need not wait for it."""


class Turns:
    """`at_once` of them (at least one), first come, first served.

    A turn that lasts for `long_s` (None: however long) is passed on to the next, and whoever has it goes on.
    """

    def __init__(self, at_once: int, long_s: float | None) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._long_s = long_s

    @classmethod
    def of(cls, at_once: int | None) -> Turns:
        """As many as the user says; None: as many as there are cores, and none for longer than `LONG_S`."""
        return cls(available_cores(), LONG_S) if at_once is None else cls(at_once, None)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it within the block. Cancelling gives up the turn, or the place in the queue."""
        await self._free.acquire()
        passed_on = False

        def pass_on() -> None:
            nonlocal passed_on
            if not passed_on:
                passed_on = True
                self._free.release()

        timer = None
        if self._long_s is not None:
            timer = asyncio.get_running_loop().call_later(self._long_s, pass_on)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            pass_on()
