"""A thread that writes, behind a bounded queue: who fills it never waits, and hears of what did not fit as a number."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from headrace.core.protocol.records import Record

_TICK_S = 0.5
_RECORD_BYTES = 1024
"""What a record holds beside its bodies, about."""


class Writer(Protocol):
    """What a sink drives, always in its own thread. All return how many records were written, held ones among them.

    What is expected to fail is told by the writer, not raised.
    """

    @property
    def held(self) -> int:
        """How many were taken and are neither written nor given up yet."""
        ...

    def write(self, records: list[Record]) -> int:
        """Write, or hold for a while."""
        ...

    def tick(self) -> int:
        """Called now and then, also while nothing comes."""
        ...

    def close(self) -> int:
        """Finish and let go; nothing comes any more."""
        ...


class Sink:
    """`written`, `failed` and `dropped` count records; `max_bytes` is how much may wait for the writer.

    A writer that raises has a fault, and goes on with what comes next: `tell` hears of it once, until it works again.
    """

    def __init__(self, log: str, writer: Writer, max_bytes: int, tell: Callable[..., None]) -> None:
        self.log = log
        self.written = 0
        self.failed = 0
        self.dropped = 0
        self._writer = writer
        self._taken = 0
        self._max_bytes = max_bytes
        self._tell = tell
        self._failing: set[str] = set()
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
                self._guarded("tick", self._writer.tick)
                continue
            if taken is None:
                self._guarded("close", self._writer.close)
                return
            records, size_bytes = taken
            with self._lock:
                self._waiting_bytes -= size_bytes
            self._taken += len(records)
            self._guarded("write", lambda: self._writer.write(records))  # noqa: B023 - called at once
            self._guarded("tick", self._writer.tick)

    def _guarded(self, step: str, act: Callable[[], int]) -> None:
        """Have the writer do something, and count: this thread is the only one, and must outlive any fault."""
        written = 0
        try:
            written = act()
            self._failing.discard(step)
        except Exception as error:  # noqa: BLE001 - said below, without its text: that may repeat what people sent
            if step not in self._failing:
                self._failing.add(step)
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno}"
                self._tell(
                    "error",
                    f"{self.log} log failing",
                    step=step,
                    reason=type(error).__name__,
                    where=where,
                    kept="all serving",
                )
        self.written += written
        self.failed = self._taken - self.written - self._writer.held
