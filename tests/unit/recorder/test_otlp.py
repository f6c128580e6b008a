"""The exporter to a collector: what goes out, and what one that fails is told as."""

from __future__ import annotations

import pytest

from headrace.recorder.otlp import SpanWriter
from headrace.recorder.sink import Sink
from tests.integration.collector import Collector
from tests.integration.serving import until
from tests.unit.recorder.records import record, traced


def test_what_is_exported_is_what_was_recorded() -> None:
    told: list[tuple[str, str]] = []
    with Collector() as collector:
        writer = SpanWriter(collector.url, lambda level, event, **_: told.append((level, event)))
        assert writer.write([traced(0), traced(1), record(2), traced(3, frame=2, batch_requests=1)]) == 0
        assert writer.tick() == 0
        assert (writer.held, collector.spans) == (3, [])
        assert (writer.close(), writer.held) == (3, 0)
        roots = [collector.of(f"r-{i}") for i in (0, 1, 3)]
        assert collector.of("r-2") is None
        for root in roots:
            assert root is not None
            below = collector.below(root)
            assert set(below) == {"queue", "batch"}
            assert set(collector.below(below["batch"])) == {"predict"}
        links = [collector.below(root)["batch"].links for root in roots if root is not None]
        assert links == [["02" * 8], ["01" * 8], []]
    assert not told


def test_an_exporter_that_fails_is_told_once_and_when_it_works_again_and_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "soon")
    with Collector() as collector:
        collector.status = 400
        writer = SpanWriter(collector.url, lambda level, event, **_: told.append((level, event)))
        sink = Sink("trace", writer, 1 << 20, lambda level, event, **_: told.append((level, event)))
        for i in range(3):
            sink.offer([traced(2 * i), traced(2 * i + 1)])  # 8 spans: a batch
            until(lambda: sink.written + sink.failed == 2 * (i + 1), "an export")  # noqa: B023 - called at once
            collector.status = 400 if i < 1 else 200
        sink.offer([traced(6)])
        assert sink.finish(20.0)
        assert collector.of("r-2") is None
        assert collector.of("r-6") is not None
        assert (sink.written, sink.failed, sink.dropped) == (3, 4, 0)
    assert told == [("warning", "traces not exported"), ("info", "traces exported again")]
