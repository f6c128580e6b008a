"""A process that says what it must not, on any channel, is replaced; nothing else notices."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.core.processes.output import LINES_A_SECOND, SECONDS_SAVED
from headrace_worker import wire
from tests.faults.test_process_death import config, pids
from tests.integration.serving import Serving, ask, serving, until
from tests.registries import place


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with two models of one replica, which do what their input says."""
    models = {name: {"uri": place(registry, "moody/1"), "timeout_s": 30.0} for name in ("control", "data")}
    with serving(tmp_path_factory.mktemp("channels"), config(registry, **models)) as running:
        yield running


def assert_healthy(one: Serving) -> None:
    """What says that it is ready answers the next request."""
    until(lambda: ask(f"{one.admin}/readyz").status == 200, "readiness")
    for model in ("control", "data"):
        answer = ask(f"{one.url(model)}/invocations", {"instances": ["ok"]})
        assert (answer.status, answer.json) == (200, {"predictions": ["ok"]})


def restarts(one: Serving, model: str) -> dict[str, int]:
    """How many workers have been replaced, by reason."""
    found = {}
    for line in ask(f"{one.admin}/metrics").body.decode().splitlines():
        if line.startswith("headrace_worker_restarts_total") and f'model="{model}"' in line:
            found[line.partition('reason="')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
    return found


SAID = {
    ("control", "no object"): b"[]\n",
    ("control", "no text"): b"\xff\xfe\n",
    ("control", "a pong that nobody asked for"): b'{"event": "pong"}\n',
    ("control", "a line without end"): b" " * 100_000,
    ("control", "the end"): b"",
    ("data", "an impossible length"): b"\xff\xff\xff\xff",
    ("data", "an unknown kind"): b"\x05\x00\x00\x00\x63\x00\x00\x00\x00",
    ("data", "an answer that nobody asked for"): wire.encode_answers(99, [wire.Answer(200, b"text/plain", b"x")]),
    ("data", "the end"): b"",
}


@pytest.mark.parametrize(("channel", "said"), [(key[0], said) for key, said in SAID.items()], ids=map(" ".join, SAID))
def test_a_model_that_breaks_its_protocol_costs_its_worker_and_nothing_else(
    one: Serving, channel: str, said: bytes
) -> None:
    assert_healthy(one)
    before = pids(one, "role=replica")
    counted = restarts(one, channel)
    after = len(one.events)
    assert ask(f"{one.url(channel)}/invocations", {"instances": [f"{channel}:{said.hex()}"]}).status == 200
    until(lambda: len(before - pids(one, "role=replica")) == 1, "the end of that worker")
    assert one.event("worker lost", after=after)["reason"]
    assert_healthy(one)
    # A worker whose control channel ends takes its supervisor for gone, and may end before it is killed.
    reason = "died" if not said and restarts(one, channel)["died"] > counted["died"] else "protocol"
    assert restarts(one, channel) == {**counted, reason: counted[reason] + 1}


def test_nobody_is_killed_for_what_a_stranger_says(one: Serving) -> None:
    """The kernel says who connects, a token that it was invited: a model cannot be another process, nor name one."""
    assert_healthy(one)
    running = pids(one, "headrace")
    victim = min(pids(one, "headrace.gateway"))
    (pid,) = ask(f"{one.url('control')}/invocations", {"instances": ["pid"]}).json["predictions"]
    after = len(one.events)
    for hello in (
        {"event": "hello", "pid": victim, "key": "nobody", "role": "host"},
        {"event": "hello", "pid": victim, "role": "host", "token": "0" * 32},
        {"event": "ready", "facts": {}, "warm_up": {"ok": True}, "rss_bytes": 0},
    ):
        said = (json.dumps(hello) + "\n").encode().hex()
        assert ask(f"{one.url('control')}/invocations", {"instances": [f"knock:{said}"]}).status == 200
    assert one.event("control connection refused", after=after)["pid"] == int(pid)
    assert_healthy(one)
    assert pids(one, "headrace") == running


def test_who_ended_a_worker_and_why_is_told(registry: str, tmp_path: Path) -> None:
    document = config(registry, moody={"uri": place(registry, "moody/1"), "timeout_s": 1.0})
    with serving(tmp_path, document) as one:
        url = f"{one.url('moody')}/invocations"

        def lost(count: int) -> str:
            until(lambda: sum(event["event"] == "worker ended" for event in one.events) == count, "its end")
            until(lambda: ask(f"{one.admin}/readyz").status == 200, "readiness")
            return str([event["exit"] for event in one.events if event["event"] == "worker ended"][-1])

        assert ask(url, {"instances": ["sleep:30"]}).status == 504
        assert lost(1).startswith("killed by headrace: no answer for 1.")
        assert ask(url, {"instances": ["control:5b5d0a"]}).status == 200
        assert lost(2).startswith("killed by headrace: while it serves it sent b'[]'")
        os.kill(min(pids(one, "role=replica")), signal.SIGKILL)
        assert "by SIGKILL" in lost(3)
        os.kill(min(pids(one, "role=replica")), signal.SIGSEGV)
        assert lost(4) == "killed by SIGSEGV"
        before = len(one.events)
        assert one.stop() == 0
        told = str(one.events[before:])
        assert "memory" not in told
        assert "SIGKILL" not in told


def test_a_model_that_prints_for_ever_costs_nobody_anything(one: Serving) -> None:
    assert_healthy(one)
    (pid,) = ask(f"{one.url('data')}/invocations", {"instances": ["pid"]}).json["predictions"]
    assert ask(f"{one.url('data')}/invocations", {"instances": ["flood:so much"]}).status == 200

    def seconds() -> int:
        return sum("left_out_lines" in event for event in one.events)

    until(lambda: seconds() > 2, "two lines that stand for others")
    for _ in range(20):
        assert ask(f"{one.admin}/livez").status == 200
        assert_healthy(one)
    logged = sum(event.get("line") == "so much" for event in one.events)
    assert logged <= LINES_A_SECOND * (SECONDS_SAVED + seconds() + 2)
    before = pids(one, "role=replica")
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: pids(one, "role=replica") - before, "another worker")
    assert_healthy(one)
