"""A real gateway and a real recorder: what happens between them when one of them does not keep up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.core.protocol import messages, records
from tests.gateway_rig.client import post
from tests.gateway_rig.recorder import RecorderRig
from tests.gateway_rig.rig import GatewayRig, wait_until

BODY = b'"' + b"x" * 60_000 + b'"'


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecorderRig]:
    kept = {"topic": records.PredictionLog(directory=str(tmp_path / "kept"))}
    with RecorderRig(tmp_path / "lines", predictions=kept) as one:
        yield one


@pytest.fixture
def rig(recorder: RecorderRig) -> Iterator[GatewayRig]:
    with GatewayRig(recording=recorder.recording(access="full")) as one:
        one.serve(one.worker("w1"), prediction_log=messages.Sampling())
        yield one


def lines(tmp_path: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in (tmp_path / "lines").read_text().splitlines()]


def test_a_recorder_that_stands_still_costs_no_request_and_what_is_lost_is_said(
    rig: GatewayRig, recorder: RecorderRig, tmp_path: Path
) -> None:
    with rig.client() as client:
        assert client.ask(post(b"1", "X-Request-Id: first")).status == 200
        wait_until(lambda: recorder.counts()["prediction written"] == 1, "the first is written")
        os.kill(recorder.process.pid, signal.SIGSTOP)
        for _ in range(600):  # some 70 MB of bodies, where a gateway holds 32
            assert client.ask(post(BODY)).status == 200
        assert rig.stats()["headrace_records_total"] > 0
        os.kill(recorder.process.pid, signal.SIGCONT)
        last = post(b"1", "X-Request-Id: last")
        wait_until(lambda: client.ask(last).status == 200 and "last" in lines(tmp_path), "lines come again")
    wait_until(lambda: recorder.counts() and recorder.told, "what is lost is said")
    (said,) = recorder.told
    assert said.event == "records dropped"
    assert said.fields["access"] == said.fields["prediction"]
    stats = rig.stats()
    asked = stats["headrace_request_seconds_count"]
    written = asked - stats["headrace_records_total"] / 2  # each lost request is one of each log
    for log in ("access", "prediction"):
        wait_until(lambda log=log: recorder.counts()[f"{log} written"] == written, f"the rest is in {log}")  # type: ignore[misc]
    assert recorder.finish() == 0


def test_a_gateway_that_drains_leaves_every_line(rig: GatewayRig, recorder: RecorderRig, tmp_path: Path) -> None:
    with rig.client() as client:
        for i in range(50):
            assert client.ask(post(b"1", f"X-Request-Id: r{i}")).status == 200
    rig.send(messages.Drain())
    assert rig.wait_exit() == 0
    assert recorder.finish() == 0
    assert lines(tmp_path) == [f"r{i}" for i in range(50)]
    kept = (tmp_path / "kept" / "topic.jsonl").read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in kept] == lines(tmp_path)


def test_a_gateway_that_comes_before_its_recorder_finds_it(tmp_path: Path) -> None:
    later = messages.Recording(socket=str(tmp_path / "r.sock"), access="full")
    with GatewayRig(recording=later) as rig:
        rig.serve(rig.worker("w1"))
        with rig.client() as client:
            assert client.ask(post(b"1", "X-Request-Id: early")).status == 200
            with RecorderRig(tmp_path / "lines", path=str(tmp_path / "r.sock")):
                wait_until(lambda: lines(tmp_path) == ["early"], "the early line")


def test_variables_that_opentelemetry_cannot_follow_cost_the_traces_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "none such")
    with (
        RecorderRig(tmp_path / "lines", traces=True) as recorder,
        GatewayRig(recording=recorder.recording(access="full")) as rig,
    ):
        rig.serve(rig.worker("w1"))
        with rig.client() as client:
            assert client.ask(post(b"1", "X-Request-Id: r0")).status == 200
        wait_until(lambda: recorder.counts()["access written"] == 1, "its line")
        wait_until(lambda: recorder.counts() and recorder.told, "what is said of the traces")
        assert [told.event for told in recorder.told] == ["traces cannot be exported"]
        assert recorder.finish() == 0
    assert lines(tmp_path) == ["r0"]
