"""Traces of real requests, as an OpenTelemetry collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.collector import Collector, Span
from tests.integration.serving import JSON, Serving, ask, serving, until

SERVER, ERROR = 2, 2
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


@pytest.fixture(scope="module")
def one(registry: str, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = {
        "registry": {"tracking_uri": registry, "poll_s": 60},
        "admin": {"port": 0},
        "gateway": {"port": 0},
        "log": {"access": "full"},
        "telemetry": {"otlp": {"endpoint": collector.url}},
        "models": {
            "mood": {"uri": "models:/mood@production", "port": 0, "environment": "local"},
            # One call at a time, so that others wait.
            "moody": {
                "uri": "models:/moody@production",
                "environment": "local",
                "errors": {"mode": "strict"},
                "concurrency": 1,
            },
        },
    }
    environ = {"OTEL_TRACES_SAMPLER": "parentbased_always_on", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with serving(tmp_path_factory.mktemp("traces"), config, environ=environ) as running:
        yield running


def traced(collector: Collector, url: str, body: Any, request_id: str, **headers: str) -> Span:
    ask(url, body, headers={**JSON, "X-Request-Id": request_id, **headers})
    found: Span = until(lambda: collector.of(request_id), f"the span of {request_id}")
    return found


def test_a_request_is_a_server_span_with_queue_batch_and_predict(one: Serving, collector: Collector) -> None:
    url = one.url("mood")
    span = traced(collector, f"{url}/invocations?q=1", {"instances": ["good"]}, "tree")
    assert (span.name, span.kind, span.parent, span.status) == ("POST /invocations", SERVER, "", 0)
    host, port = url.removeprefix("http://").split(":")
    expected = {
        "http.request.method": "POST",
        "http.route": "/invocations",
        "http.response.status_code": 200,
        "url.path": "/invocations",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "server.address": host,
        "server.port": int(port),
        "headrace.model": "mood",
        "headrace.version": "mood/1",
        "headrace.rows": 1,
    }
    assert {key: span.attributes.get(key) for key in expected} == expected
    assert "url.query" not in span.attributes
    assert span.service == "headrace"
    below = until(lambda: len(found := collector.below(span)) == 2 and found, "its children")
    (predict,) = until(lambda: list(collector.below(below["batch"]).values()), "predict")
    assert (set(below), predict.name) == ({"queue", "batch"}, "predict")
    times = [span.begin_ns, below["queue"].end_ns, predict.begin_ns, predict.end_ns, span.end_ns]
    assert times == sorted(times)
    assert below["queue"].end_ns == below["batch"].begin_ns
    line = one.event("request", request_id="tree")
    assert line["trace_id"] == span.trace_id


def gauge(one: Serving, name: str) -> float:
    """What a metric of the model moody is now, over all its versions."""
    lines = ask(f"{one.admin}/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f'{name}{{model="moody"'))


def test_a_batch_is_linked_with_the_requests_that_were_in_it(
    one: Serving, collector: Collector, tmp_path: Path
) -> None:
    url = f"{one.url('moody')}/models/moody/invocations"
    gate = tmp_path / "gate"

    with ThreadPoolExecutor(9) as pool:
        pool.submit(ask, url, {"inputs": [f"wait:{gate}"]})
        until(lambda: gauge(one, "headrace_in_flight_requests") == 1, "the worker to be busy")
        names = [f"together-{i}" for i in range(8)]
        asked = [pool.submit(ask, url, {"inputs": [n]}, headers={**JSON, "X-Request-Id": n}) for n in names]
        until(lambda: gauge(one, "headrace_queued_requests") == len(names), "all to wait")
        gate.touch()
        assert [future.result().status for future in asked] == [200] * len(names)
    spans = until(lambda: all(found := [collector.of(n) for n in names]) and found, "all of them")
    batches = [until(lambda s=s: collector.below(s).get("batch"), "its batch") for s in spans]  # type: ignore[misc]
    largest = max(batch.attributes["headrace.batch.requests"] for batch in batches)
    assert largest > 1
    ids = {s.span_id for s in collector.spans if s.kind == SERVER}
    for batch in batches:
        assert len(batch.links) == batch.attributes["headrace.batch.requests"] - 1
        assert set(batch.links) <= ids - {batch.parent}


def test_the_callers_trace_is_gone_on_with(one: Serving, collector: Collector) -> None:
    url = f"{one.url('mood')}/invocations"
    trace_id, caller = CALLER
    headers = {"traceparent": f"00-{trace_id}-{caller}-01", "tracestate": "vendor=value"}
    span = traced(collector, url, {"instances": ["good"]}, "gone-on", **headers)
    assert (span.trace_id, span.parent, span.state) == (trace_id, caller, "vendor=value")
    ask(url, {"instances": ["a"]}, headers={**JSON, "X-Request-Id": "not", "traceparent": f"00-{trace_id}-{caller}-00"})
    traced(collector, url, {"instances": ["good"]}, "later")
    assert collector.of("not") is None
    assert "trace_id" not in one.event("request", request_id="not")


def test_errors_are_marked_by_whose_fault_they_are(one: Serving, collector: Collector) -> None:
    wrong = traced(collector, f"{one.url('mood')}/invocations", {"nonsense": 1}, "callers-fault")
    assert (wrong.status, wrong.attributes["http.response.status_code"]) == (0, 400)
    assert "error.type" not in wrong.attributes
    url = f"{one.url('moody')}/models/moody/invocations"
    failed = traced(collector, url, {"inputs": ["raise:x"]}, "models-fault")
    assert (failed.name, failed.status) == ("POST /models/{name}/invocations", ERROR)
    assert failed.attributes["error.type"] == "500"


def test_probes_are_not_traced_and_nothing_of_opentelemetry_is_in_a_gateway(one: Serving, collector: Collector) -> None:
    ask(f"{one.url('mood')}/ping", headers={"X-Request-Id": "probe"})
    traced(collector, f"{one.url('mood')}/invocations", {"instances": ["good"]}, "after-probe")
    assert collector.of("probe") is None
    (gateway,) = one.processes("headrace.gateway")
    assert not [m.path for m in gateway.memory_maps() if "opentelemetry" in m.path or "protobuf" in m.path]
