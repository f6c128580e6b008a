"""Whose turn it is among the threads of a worker whose calls run beside each other.

Reading requests and writing answers is done by one thread at a time: none of that code need stand threads, and with
Python's global lock nothing is lost. A model runs outside of it, beside other calls of itself.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Iterator  # noqa: UP035 - runs on Python 3.8


class Turns:
    """The turn of one process. A thread that never asked for it, as in a process with one, pays nothing for `away`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Wait for the turn and have it; not to be entered again by the same thread."""
        with self._lock:
            self._here.held = True
            try:
                yield
            finally:
                self._here.held = False

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Let others have it meanwhile, if this thread has it."""
        if not getattr(self._here, "held", False):
            yield
            return
        self._here.held = False
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._here.held = True


TURNS = Turns()
"""This process's: a worker has one model."""
