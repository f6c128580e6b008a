"""A thread that writes, behind a bounded queue: who fills it never waits, and hears of what did not fit as a number."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

from headrace.core.records import Record

_TICK_S = 0.5


class Writer(Protocol):
    """What a sink drives, always in its own thread."""

    def write(self, records: list[Record]) -> int:
        """Write; returns how many were written. Raises nothing: what fails is told by the writer itself."""
        ...

    def tick(self) -> None:
        """Called now and then while nothing comes."""
        ...

    def close(self) -> None:
        """Finish and let go; nothing comes any more."""
        ...


class Sink:
    """`written`, `failed` and `dropped` count records; `max_records` is how many may wait for the writer."""

    def __init__(self, log: str, writer: Writer, max_records: int) -> None:
        self.log = log
        self.written = 0
        self.failed = 0
        self.dropped = 0
        self._writer = writer
        self._max_records = max_records
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[list[Record] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"headrace-{log}", daemon=True)
        self._thread.start()

    def offer(self, records: list[Record]) -> None:
        """Queue records, or drop them if too many wait already."""
        with self._lock:
            if self._waiting + len(records) > self._max_records:
                self.dropped += len(records)
                return
            self._waiting += len(records)
        self._queue.put(records)

    def finish(self, timeout_s: float) -> bool:
        """Write what waits and close; False if that took longer than `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                records = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                self._writer.tick()
                continue
            if records is None:
                self._writer.close()
                return
            with self._lock:
                self._waiting -= len(records)
            written = self._writer.write(records)
            self.written += written
            self.failed += len(records) - written
            self._writer.tick()
