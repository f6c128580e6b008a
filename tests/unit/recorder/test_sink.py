"""A sink takes what fits and counts what does not, whatever its writer does."""

from __future__ import annotations

import threading

from headrace.core.records import Record
from headrace.recorder.sink import Sink
from tests.unit.recorder.records import record


class Held:
    """A writer that waits until it is let go, and fails on every second record."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.closed = False

    def write(self, records: list[Record]) -> int:
        self.begun.set()
        assert self.go.wait(20)
        self.batches.append(len(records))
        return len(records) // 2

    def tick(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_what_does_not_fit_is_dropped_and_everything_is_counted() -> None:
    writer = Held()
    sink = Sink("prediction", writer, max_bytes=100_000)
    sink.offer([record(0), record(1)])
    assert writer.begun.wait(20)
    large = record(2, request=b"x" * 60_000)
    sink.offer([large] * 2)  # nothing waits: larger than all, and taken
    sink.offer([record(3)])  # no room behind it
    assert (sink.dropped, sink.written) == (1, 0)
    writer.go.set()
    assert sink.finish(20.0)
    assert (writer.batches, writer.closed) == ([2, 2], True)
    assert (sink.written, sink.failed, sink.dropped) == (2, 2, 1)
