"""A thread that writes, behind a bounded queue: who fills it never waits, and hears of what did not fit as a number."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

from headrace.core.records import Record

_TICK_S = 0.5
_RECORD_BYTES = 1024
"""What a record holds beside its bodies, about."""


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
    """`written`, `failed` and `dropped` count records; `max_bytes` is how much may wait for the writer."""

    def __init__(self, log: str, writer: Writer, max_bytes: int) -> None:
        self.log = log
        self.written = 0
        self.failed = 0
        self.dropped = 0
        self._writer = writer
        self._max_bytes = max_bytes
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[list[Record], int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"headrace-{log}", daemon=True)
        self._thread.start()

    def offer(self, records: list[Record]) -> None:
        """Queue records, or drop them if too much waits already."""
        size_bytes = sum(_RECORD_BYTES + len(one.request or b"") + len(one.answer or b"") for one in records)
        with self._lock:
            if self._waiting_bytes and self._waiting_bytes + size_bytes > self._max_bytes:
                self.dropped += len(records)
                return
            self._waiting_bytes += size_bytes
        self._queue.put((records, size_bytes))

    def finish(self, timeout_s: float) -> bool:
        """Write what waits and close; False if that took longer than `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                taken = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                self._writer.tick()
                continue
            if taken is None:
                self._writer.close()
                return
            records, size_bytes = taken
            with self._lock:
                self._waiting_bytes -= size_bytes
            written = self._writer.write(records)
            self.written += written
            self.failed += len(records) - written
            self._writer.tick()
