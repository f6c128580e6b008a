"""Spans from records: their tree, their links, and what an exporter that fails is told as."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from headrace.core.protocol.records import CLIENT_CLOSED, TRACE, Record, Trace
from headrace.recorder.sink import Sink
from headrace.recorder.spans import SpanWriter, spans
from tests.integration.collector import Collector
from tests.integration.serving import until
from tests.unit.recorder.records import record


def traced(number: int, **changes: Any) -> Record:
    trace = Trace(bytes([number + 1]) * 16, bytes([number + 1]) * 8)
    return record(number, **{"wanted_by": TRACE, "trace": trace, **changes})


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


def test_a_request_that_met_no_worker_has_no_batch() -> None:
    failed = traced(0, frame=0, queue_s=0.01, status=503, error="OVERLOADED")
    gone = traced(1, frame=0, queue_s=0.0, status=CLIENT_CLOSED, version="")
    made = {span.name: span for span in spans([failed], Resource.get_empty())}
    assert set(made) == {"POST /invocations", "queue"}
    root = made["POST /invocations"]
    assert (root.status.is_ok, (root.attributes or {})["error.type"]) == (False, "OVERLOADED")
    (left,) = spans([gone], Resource.get_empty())
    assert (left.attributes or {})["error.type"] == "client_closed"
    assert "http.response.status_code" not in (left.attributes or {})


def test_times_never_go_back_and_links_are_bounded() -> None:
    many = [traced(i % 250, predict_us=10**9, serialise_us=10**9, total_s=0.001, queue_s=0.5) for i in range(200)]
    made = spans(many, Resource.get_empty())
    assert all((span.start_time or 0) <= (span.end_time or 0) for span in made)
    assert max(len(span.links) for span in made) == 128


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"models.example:8080", "models.example", 8080),
        (b"models.example", "models.example", None),
        (b"[::1]:80", "[::1]", 80),
        (b"x:\xb2", "x:\u00b2", None),
        (b"x:" + b"9" * 5000, "x:" + "9" * 5000, None),
        (b"x:", "x:", None),
    ],
)
def test_any_host_header_makes_a_span(host: bytes, address: str, port: int | None) -> None:
    root = spans([traced(0, host=host)], Resource.get_empty())[0]
    about = root.attributes or {}
    assert (about["server.address"], about.get("server.port")) == (address, port)
