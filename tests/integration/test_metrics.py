"""The numbers on the admin port are exact after known traffic, and do not go back when a gateway is replaced."""

import os
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from headrace.telemetry.metrics import DEFINITIONS
from tests.integration.serving import Serving, ask, serving, until
from tests.integration.test_serve import HAPPY, config

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(one: Serving) -> Numbers:
    answer = ask(f"{one.admin}/metrics")
    assert answer.status == 200
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert {f.name for f in families} <= {name.removesuffix("_total") for name in DEFINITIONS}
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def value(numbers: Numbers, name: str, **labels: str) -> float:
    return sum(v for (n, found), v in numbers.items() if n == name and labels.items() <= dict(found).items())


def test_known_traffic_is_counted_exactly(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": "models:/mood@production"})) as one:
        url = one.url("mood")
        for _ in range(7):
            assert ask(f"{url}/invocations", HAPPY).status == 200
        for _ in range(3):
            assert ask(f"{url}/invocations", {"nonsense": 1}).status == 400
        assert ask(f"{url}/ping").status == 200
        first = scrape(one)
        of = {"model": "mood", "version": "mood/1"}
        assert value(first, "headrace_requests_total", **of, route="invocations", status="200") == 7
        assert value(first, "headrace_requests_total", **of, route="invocations", status="400") == 3
        assert value(first, "headrace_requests_total", route="health", status="200") == 1
        assert value(first, "headrace_request_seconds_count", **of) == 10
        assert value(first, "headrace_request_seconds_bucket", **of, le="+Inf") == 10
        assert value(first, "headrace_batches_total", **of) == 10
        assert value(first, "headrace_version_info", **of) == 1
        assert value(first, "headrace_model_ready", model="mood") == 1
        assert value(first, "headrace_workers", **of, state="ready") == 1
        (gateway,) = one.processes("headrace.gateway")
        os.kill(gateway.pid, signal.SIGKILL)
        until(lambda: {p.pid for p in one.processes("headrace.gateway")} - {gateway.pid}, "a new gateway")
        until(lambda: ask(f"{url}/invocations", HAPPY).status == 200, "the new gateway to answer")
        second = scrape(one)
        assert value(second, "headrace_requests_total", **of, route="invocations", status="200") == 8
        assert value(second, "headrace_gateway_restarts_total") == 1
        assert all(v >= first[k] for k, v in second.items() if k in first and k[0].endswith("_total"))
