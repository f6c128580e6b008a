"""Detects event loops that hang: those of other processes, and of the supervisor itself."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

from headrace.core.processes.watchdog import Watchdog

EXIT_HUNG = 70
"""The supervisor's exit code when its own loop stands still (EX_SOFTWARE of sysexits.h)."""

_TELL_S = 1.0


class Pulse:
    """Watches one process, from `start` to `stop`; what reads its messages calls `heard`."""

    def __init__(self) -> None:
        self._watchdog: Watchdog | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, limit_s: float | None, ask: Callable[[], None], on_hung: Callable[[float], None]) -> None:
        """Ask now and then; call `on_hung` with the seconds of silence once they are `limit_s` (None: never)."""
        self.stop()
        if limit_s is not None:
            self._watchdog = Watchdog(limit_s, time.monotonic())
            self._task = asyncio.create_task(_watch(self._watchdog, ask, on_hung))

    def heard(self) -> None:
        """Note that the process has sent something."""
        if self._watchdog is not None:
            self._watchdog.heard(time.monotonic())

    def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._watchdog = None


async def _watch(watchdog: Watchdog, ask: Callable[[], None], on_hung: Callable[[float], None]) -> None:
    while True:
        ask()
        await asyncio.sleep(watchdog.every_s)
        silent_s = watchdog.tick(time.monotonic())
        if silent_s is not None:
            on_hung(silent_s)
            return


class Heartbeat:
    """Ends this process when its event loop stands still for `limit_s` seconds: then nothing else could.

    A thread looks at what the loop does, and standard error has where it stood. The keeper starts another supervisor;
    where there is none, every other process of headrace ends with this one, with exit code 70.
    """

    def __init__(self, limit_s: float) -> None:
        self._watchdog = Watchdog(limit_s, time.monotonic())
        self._over = threading.Event()

    async def run(self) -> None:
        """Beat until cancelled."""
        self._watchdog.heard(time.monotonic())
        thread = threading.Thread(target=self._look, name="heartbeat", daemon=True)
        thread.start()
        try:
            while True:
                self._watchdog.heard(time.monotonic())
                await asyncio.sleep(self._watchdog.every_s)
        finally:
            self._over.set()

    def _look(self) -> None:
        while not self._over.wait(self._watchdog.every_s):
            silent_s = self._watchdog.tick(time.monotonic())
            if silent_s is not None:
                # Standard error may be what the loop hangs on: telling must not keep us from ending.
                teller = threading.Thread(target=_tell, args=(silent_s,), daemon=True)
                teller.start()
                teller.join(_TELL_S)
                os._exit(EXIT_HUNG)


def _tell(silent_s: float) -> None:
    with contextlib.suppress(OSError, ValueError):
        line = f"headrace: the supervisor's event loop has stood still for {silent_s:.1f} s and ends; it stood here:\n"
        os.write(2, line.encode())
        faulthandler.dump_traceback(sys.__stderr__ or 2)
