"""Calls that run beside each other, for models that mostly wait: each in a thread, which the next call uses again.

The loop's thread alone talks to gateways: what a call has to say is *posted* to it. It looks at each call that has been
under way for a while, and again after twice as long: one that has mostly waited until then is told of, so that others
are let in before it is done.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import queue
import threading
import time
from collections import deque
from typing import Callable, Deque, Generic, List, Optional, Tuple, TypeVar  # noqa: UP035 - runs on Python 3.8

from headrace_worker.spending import Crowd, Meter

LOOK_AFTER_S = 0.05

_WAITS_BELOW = 0.5

T = TypeVar("T")
A = TypeVar("A")


class _Call(Generic[A]):
    """What a thread is given. `about` is what the loop calls it; `meter` is there while the thread is at it."""

    __slots__ = ("about", "is_over", "meter", "run")

    def __init__(self, about: A, run: Callable[[], None]) -> None:
        self.about = about
        self.run = run
        self.meter: Optional[Meter] = None  # noqa: UP045
        self.is_over = False


class Calls(Generic[A, T]):
    """The threads, as many as there were ever calls at a time, and what they have posted.

    Readable (see `fileno`) when something is posted. Threads end with the process, whatever they are at.
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        self._todo: queue.SimpleQueue[_Call[A]] = queue.SimpleQueue()
        self._posted: Deque[T] = deque()  # noqa: UP006
        # When to look at which call, how often that was put down here, and how long it will then have been under way.
        self._looks: List[Tuple[float, int, float, _Call[A]]] = []  # noqa: UP006
        self._put_down = 0
        self._lock = threading.Lock()
        self._crowd = Crowd()
        self._threads = 0
        self._here = threading.local()

    def fileno(self) -> int:
        """For select()."""
        return self._read_fd

    def run(self, about: A, call: Callable[[], None]) -> None:
        """Have a thread run `call`, which raises nothing. RuntimeError: the process may not have even one."""
        with self._lock:
            self._crowd.begun += 1
            self._crowd.under_way += 1
            is_one_short = self._crowd.under_way > self._threads
        if is_one_short:
            try:
                threading.Thread(target=self._work, name="call", daemon=True).start()
            except RuntimeError:  # as many as this process may have: it waits for one of those
                if not self._threads:
                    self._crowd.under_way -= 1
                    raise
            else:
                self._threads += 1
        given = _Call(about, call)
        self._look(given, LOOK_AFTER_S, LOOK_AFTER_S)
        self._todo.put(given)

    def post(self, item: T) -> None:
        """Hand something to the loop's thread."""
        self._posted.append(item)
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop, too
            os.write(self._write_fd, b"\0")

    def meter(self) -> Meter:
        """That of the thread which asks."""
        meter: Meter = self._here.meter
        return meter

    def take(self) -> List[T]:  # noqa: UP006
        """What was posted, in order."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._read_fd, 4096)) == 4096:
                pass
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._posted.popleft())
        return taken

    def look_in_s(self) -> Optional[float]:  # noqa: UP045
        """In how many seconds `waiting` is to be asked again; None: not before another call is run."""
        return max(0.0, self._looks[0][0] - time.monotonic()) if self._looks else None

    def waiting(self) -> List[Tuple[A, Tuple[int, int, int]]]:  # noqa: UP006
        """Calls that are known to wait now: (about, what `Meter.so_far` says of them)."""
        found = []
        while self._looks and self._looks[0][0] <= time.monotonic():
            *_, age_s, call = heapq.heappop(self._looks)
            meter = call.meter
            told = meter.so_far() if meter is not None else None
            if call.is_over:
                continue
            if told is not None and told[1] + told[2] < told[0] * _WAITS_BELOW:
                found.append((call.about, told))
            self._look(call, age_s, 2 * age_s)
        return found

    def _look(self, call: _Call[A], in_s: float, age_s: float) -> None:
        self._put_down += 1
        heapq.heappush(self._looks, (time.monotonic() + in_s, self._put_down, age_s, call))

    def close(self) -> None:
        """Nothing is posted to anybody any more."""
        os.close(self._read_fd)

    def _work(self) -> None:
        meter = self._here.meter = Meter(self._crowd)
        while True:
            call = self._todo.get()
            meter.begin()
            call.meter = meter
            call.run()
            call.is_over = True
            with self._lock:
                self._crowd.under_way -= 1
