"""A sink takes what fits and counts what does not, whatever its writer does."""

from __future__ import annotations

import threading
from typing import Any

from headrace.core.protocol.records import Record
from headrace.recorder.sink import Sink
from tests.unit.recorder.records import record


class Held:
    """A writer that waits until it is let go, and fails on every second record."""

    held = 0

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.closed = False

    def write(self, records: list[Record]) -> int:
        self.begun.set()
        assert self.go.wait(60)
        self.batches.append(len(records))
        return len(records) // 2

    def tick(self) -> int:
        return 0

    def close(self) -> int:
        self.closed = True
        return 0


def told_nothing(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be told")


class Faulty:
    """A writer with a fault: it raises for some batches, and whenever it should finish."""

    held = 0

    def __init__(self) -> None:
        self.batches: list[int] = []

    def write(self, records: list[Record]) -> int:
        if records[0].model == "poison":
            raise RecursionError("what a request held")
        self.batches.append(len(records))
        return len(records)

    def tick(self) -> int:
        return 0

    def close(self) -> int:
        raise ValueError("what a request held")


def test_a_writer_that_raises_loses_that_batch_and_is_told_once() -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    writer = Faulty()
    sink = Sink("prediction", writer, 100_000, lambda _, event, **fields: told.append((event, fields)))
    poison = record(0, model="poison")
    for batch in ([record(1)], [poison, poison], [poison], [record(2), record(3)], [poison]):
        sink.offer(batch)
    assert sink.finish(20.0)
    assert writer.batches == [1, 2]
    assert (sink.written, sink.failed, sink.dropped) == (3, 4, 0)
    assert [(event, f["step"], f["reason"]) for event, f in told] == [
        ("prediction log failing", "write", "RecursionError"),
        ("prediction log failing", "write", "RecursionError"),
        ("prediction log failing", "close", "ValueError"),
    ]
    assert "held" not in str(told), "an exception's text may repeat a request"
    assert all(f["where"].startswith("test_sink.py:") for _, f in told)


def test_what_does_not_fit_is_dropped_and_everything_is_counted() -> None:
    writer = Held()
    sink = Sink("prediction", writer, 100_000, told_nothing)
    sink.offer([record(0), record(1)])
    assert writer.begun.wait(60)
    large = record(2, request=b"x" * 60_000)
    sink.offer([large] * 2)  # nothing waits: larger than all, and taken
    sink.offer([record(3)])  # no room behind it
    assert (sink.dropped, sink.written) == (1, 0)
    writer.go.set()
    assert sink.finish(20.0)
    assert (writer.batches, writer.closed) == ([2, 2], True)
    assert (sink.written, sink.failed, sink.dropped) == (2, 2, 1)
