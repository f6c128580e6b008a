"""What a call takes of the processors, other than what it waits for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Optional

LONG_NS = 2_000_000
"""Of shorter calls it is not asked how long they waited for a processor."""


class Meter:
    """Measures the calls of one thread, one after another. `alone`: no other thread has one meanwhile.

    Time in which the thread could have run, and others had the processors, is counted too: that a machine is busy does
    not make a model one that waits. Only Linux tells; elsewhere it is left out.
    """

    def __init__(self, *, alone: bool) -> None:
        self._clock = time.process_time_ns if alone else time.thread_time_ns
        self._fd: Optional[int] = None  # noqa: UP045
        with contextlib.suppress(OSError):
            self._fd = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._delay_ns = self._read_delay_ns()
        self._began_ns = self._clock_began_ns = 0

    def begin(self) -> None:
        """A call begins."""
        self._began_ns = time.monotonic_ns()
        self._clock_began_ns = self._clock()

    def end(self) -> int:
        """The call has ended; what it has taken, in microseconds."""
        taken_ns = self._clock() - self._clock_began_ns
        if time.monotonic_ns() - self._began_ns >= LONG_NS:
            before_ns, self._delay_ns = self._delay_ns, self._read_delay_ns()
            taken_ns += self._delay_ns - before_ns
        return taken_ns // 1000

    def _read_delay_ns(self) -> int:
        if self._fd is None:
            return 0
        try:
            return int(os.pread(self._fd, 128, 0).split()[1])
        except (OSError, ValueError, IndexError):
            return 0
