"""Calls that run beside each other, for models that mostly wait: each in a thread, which the next call uses again.

The loop's thread alone talks to gateways: what a call has to say is *posted* to it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from typing import Callable, Deque, Generic, List, TypeVar  # noqa: UP035 - runs on Python 3.8

from headrace_worker.spending import Meter

T = TypeVar("T")


class Calls(Generic[T]):
    """The threads, as many as there were ever calls at a time, and what they have posted.

    Readable (see `fileno`) when something is posted. Threads end with the process, whatever they are at.
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._posted: Deque[T] = deque()  # noqa: UP006
        self._lock = threading.Lock()
        self._idle = 0
        self._here = threading.local()

    def fileno(self) -> int:
        """For select()."""
        return self._read_fd

    def run(self, call: Callable[[], None]) -> None:
        """Have a thread run `call`, which raises nothing."""
        with self._lock:
            has_thread = self._idle > 0
            self._idle -= has_thread
        if not has_thread:
            threading.Thread(target=self._work, name="call", daemon=True).start()
        self._todo.put(call)

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

    def close(self) -> None:
        """Nothing is posted to anybody any more."""
        os.close(self._read_fd)

    def _work(self) -> None:
        self._here.meter = Meter(alone=False)
        while True:
            self._todo.get()()
            with self._lock:
                self._idle += 1
