"""Spans from records: their tree, their links, and what an exporter that fails is told as."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource

from headrace.core.protocol.records import CLIENT_CLOSED
from headrace.recorder.spans import spans
from tests.unit.recorder.records import traced


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
