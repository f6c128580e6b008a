"""What a call takes of the processors, other than what it waits for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Optional, Tuple  # noqa: UP035 - runs on Python 3.8

LONG_NS = 2_000_000
"""Of shorter calls it is not asked how long they waited for a processor."""


class Crowd:
    """How many calls have begun in this process, and how many of them are `under_way`."""

    def __init__(self) -> None:
        self.begun = self.under_way = 0


class Meter:
    """Measures the calls of one thread, the one that makes it, one after another.

    Of a call that has no other beside it in `crowd` (None: of every call) it is also counted what threads of the
    model's own compute. Time in which the thread could have run, and others had the processors, is told as well: that a
    machine is busy does not make a model one that waits. Only Linux tells; elsewhere it is 0.
    """

    def __init__(self, crowd: Optional[Crowd] = None) -> None:  # noqa: UP045
        self._crowd = crowd
        self._thread = threading.get_ident()
        self._fd: Optional[int] = None  # noqa: UP045
        with contextlib.suppress(OSError):
            self._fd = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._delay_ns = self._read_delay_ns()
        self._began_ns = self._thread_ns = self._process_ns = 0
        self._begun = -1

    def begin(self) -> None:
        """A call begins."""
        crowd = self._crowd
        if crowd is not None:
            self._begun = crowd.begun if crowd.under_way == 1 else -1
        self._began_ns = time.monotonic_ns()
        self._thread_ns = time.thread_time_ns()
        self._process_ns = time.process_time_ns()

    def end(self) -> Tuple[int, int]:  # noqa: UP006
        """The call has ended: (what it took of the processors, what it could not get), in microseconds."""
        taken_ns = time.process_time_ns() - self._process_ns if self._alone else time.thread_time_ns() - self._thread_ns
        if time.monotonic_ns() - self._began_ns < LONG_NS:
            return taken_ns // 1000, 0
        before_ns, self._delay_ns = self._delay_ns, self._read_delay_ns()
        return taken_ns // 1000, (self._delay_ns - before_ns) // 1000

    def so_far(self) -> Optional[Tuple[int, int, int]]:  # noqa: UP006, UP045
        """(how long the call under way has lasted, and as `end`), in microseconds; None where nobody tells.

        For another thread to ask.
        """
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        if clock_of is None:
            return None
        if self._alone:
            taken_ns = time.process_time_ns() - self._process_ns
        else:
            taken_ns = time.clock_gettime_ns(clock_of(self._thread)) - self._thread_ns
        delay_ns = self._read_delay_ns() - self._delay_ns
        return (time.monotonic_ns() - self._began_ns) // 1000, taken_ns // 1000, delay_ns // 1000

    @property
    def _alone(self) -> bool:
        """Whether no other call has begun since this one did."""
        return self._crowd is None or self._crowd.begun == self._begun

    def _read_delay_ns(self) -> int:
        if self._fd is None:
            return 0
        try:
            return int(os.pread(self._fd, 128, 0).split()[1])
        except (OSError, ValueError, IndexError):
            return 0
