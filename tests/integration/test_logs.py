"""The access log, the slow log and the line about a model's failure, of a running server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_rig.client import RawClient, get
from tests.integration.serving import JSON, Serving, ask, serving, until
from tests.registries import place

SECRET = "s3cr3t-payload"
MOOD = {"instances": [f"good {SECRET}"]}


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = {
        "registry": {"tracking_uri": registry, "poll_s": 60},
        "admin": {"port": 0},
        "log": {"access": True, "slow_s": 0.3, "exceptions": "type"},
        "models": {
            "mood": {"uri": "models:/mood@production", "port": 0, "environment": "local", "cache": {}},
            "moody": {"uri": "models:/moody@production", "port": 0, "environment": "local"},
        },
    }
    with serving(tmp_path_factory.mktemp("logs"), config) as running:
        yield running


def asked(one: Serving, url: str, body: Any, request_id: str, **headers: str) -> dict[str, Any]:
    """Send a request and return its line of the access log."""
    ask(url, body, headers={**JSON, "X-Request-Id": request_id, **headers})
    return one.event("request", request_id=request_id)


def test_a_request_is_one_line_that_says_whose_it_was_and_where_its_time_went(one: Serving) -> None:
    line = asked(one, f"{one.url('mood')}/invocations", MOOD, "first")
    assert line["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    expected = {
        "model": "mood",
        "version": "mood/1",
        "route": "invocations",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "rows": 1,
        "bytes_in": len(json.dumps(MOOD)),
        "cache": "miss",
        "client": "127.0.0.1",
    }
    assert {key: line[key] for key in expected} == expected
    assert 0 < line["predict_s"] <= line["total_s"]
    assert 0 <= line["queue_s"] <= line["total_s"]
    again = asked(one, f"{one.url('mood')}/invocations", MOOD, "again")
    assert (again["cache"], again["predict_s"], again["bytes_out"]) == ("hit", 0, line["bytes_out"])


def test_probes_unknown_paths_and_what_is_no_http_are_lines_too(one: Serving) -> None:
    url = one.url("mood")
    ask(f"{url}/ping", headers={"X-Request-Id": "probe"})
    line = one.event("request", request_id="probe")
    assert (line["route"], line["method"], line["status"], line["model"]) == ("health", "GET", 200, "mood")
    ask(f"{url}/nowhere?{SECRET}", headers={"X-Request-Id": "nowhere"})
    assert one.event("request", request_id="nowhere")["path"] == "/nowhere"
    host, port = url.removeprefix("http://").split(":")
    with RawClient((host, int(port))) as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.reply().status == 400
    assert one.event("request", route="refused")["error_code"] == "BAD_REQUEST"


def test_a_client_that_leaves_is_499(one: Serving) -> None:
    host, port = one.url("moody").removeprefix("http://").split(":")
    body = b'{"inputs": ["sleep:0.5"]}'
    with RawClient((host, int(port))) as client:
        head = get("/invocations", "X-Request-Id: gone", f"Content-Length: {len(body)}", method="POST")
        client.send(head.replace(b"Host", b"Content-Type: application/json\r\nHost") + body)
        client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: a reset, as from a client that was killed
    line = one.event("request", request_id="gone")
    assert (line["status"], line["model"], line["bytes_out"]) == (499, "moody", 0)


def test_a_slow_request_says_where_its_time_went(one: Serving) -> None:
    url = f"{one.url('moody')}/invocations"
    asked(one, url, {"inputs": ["sleep:0.4"]}, "slow")
    line = one.event("slow request", request_id="slow")
    assert (line["level"], line["version"], line["batch_requests"]) == ("warning", "moody/1", 1)
    assert 0.4 <= line["predict_s"] <= line["worker_s"] <= line["total_s"]
    asked(one, url, {"inputs": ["quick"]}, "quick")
    assert not [e for e in one.events if e["event"] == "slow request" and e["request_id"] == "quick"]


def test_a_models_failure_is_in_the_log_once_with_id_and_version(one: Serving) -> None:
    line = asked(one, f"{one.url('moody')}/invocations", {"inputs": [f"raise:{SECRET}"]}, "failing")
    assert line["model_error"] is True
    error = one.event("model error", request_id="failing")
    assert (error["version"], error["error_code"], error["others"]) == ("moody/1", "BAD_REQUEST", 0)
    assert (error["error"], SECRET in json.dumps(error)) == ("RuntimeError", False)
    assert re.fullmatch(r".+\.py:\d+", error["where"])


def test_what_a_client_sent_is_never_in_the_log(one: Serving) -> None:
    url = f"{one.url('mood')}/invocations"
    asked(one, f"{url}?token={SECRET}", MOOD, "secretive", Authorization=f"Bearer {SECRET}", Cookie=SECRET)
    assert SECRET not in json.dumps(one.events) + "\n".join(one.other_lines)


def test_every_line_is_counted_and_a_new_recorder_takes_over(one: Serving) -> None:
    def written() -> float:
        text = ask(f"{one.admin}/metrics").body.decode()
        return sum(float(v) for v in re.findall(r'headrace_records_total\{log="access",result="written"\} (\S+)', text))

    lines = len([e for e in one.events if e["event"] == "request"])
    until(lambda: written() >= lines, "the lines to be counted")
    (recorder,) = one.processes("headrace.recorder")
    recorder.kill()
    one.event("recorder ended")
    url = f"{one.url('mood')}/invocations"
    assert ask(url, MOOD).status == 200
    until(lambda: {p.pid for p in one.processes("headrace.recorder")} - {recorder.pid}, "a new recorder")
    before = written()
    asked(one, url, MOOD, "after")
    until(lambda: written() > before, "what the new one counts to be added")


def test_only_a_share_is_logged_and_every_failure(registry: str, tmp_path: Path) -> None:
    model = {"uri": place(registry, "mood/1"), "port": 0, "environment": "local"}
    config = {
        "admin": None,
        "log": {"access": "sampled", "access_sample": 0.5},
        "models": {"mood": model},
    }
    from headrace.core.serving.sampling import point

    with serving(tmp_path, config) as running:
        url = f"{running.url('mood')}/invocations"
        names = [f"r{i}" for i in range(40)]
        for name in names:
            ask(url, MOOD, headers={**JSON, "X-Request-Id": name})
        assert running.stop() == 0
        logged = [e["request_id"] for e in running.events if e["event"] == "request"]
    assert logged == [name for name in names if point(name.encode()) < 0.5]
    assert 5 < len(logged) < 35
