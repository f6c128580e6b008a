"""Streams whose clients read slowly, not at all or without end: nobody else pays for it, and each has its bounds.

The worker is a process with the real scorer and socket loop and a model that streams.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, Reply, post
from tests.gateway_rig.rig import GatewayRig, StreamWorker, wait_until
from tests.integration.serving import ask, serving

ENDLESS = 1_000_000_000
STREAM = "Accept: text/event-stream"


def ask_stream(count: int, size: int, gate: str = "", *headers: str) -> bytes:
    """A request for so many pieces of such a size."""
    return post(json.dumps({"inputs": [f"{count} {size} {gate}".strip()]}).encode(), STREAM, *headers)


def ask_plain(client: RawClient) -> Reply:
    return client.ask(post(b'{"inputs": ["hello"]}'))


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


@pytest.fixture
def worker(rig: GatewayRig) -> StreamWorker:
    """The only worker; a frame may be with it for five seconds."""
    worker = rig.stream_worker("w1")
    rig.serve(worker, timeout_s=5.0)
    return worker


def streams(rig: GatewayRig, state: str) -> float:
    rig.send(messages.AskStats(5))
    told = rig.wait_for(messages.Stats, lambda stats: stats.token == 5).values
    return sum(v for name, labels, v in told if name == "headrace_streams_open" and ("state", state) in labels)


def limits(rig: GatewayRig) -> dict[str, float]:
    """How many streams were ended or refused, by the limit."""
    rig.send(messages.AskStats(6))
    told = rig.wait_for(messages.Stats, lambda stats: stats.token == 6).values
    return {dict(labels)["limit"]: v for name, labels, v in told if name == "headrace_stream_limits_total" and v}


def events(reply: Reply) -> list[str]:
    """The events of a stream that is whole."""
    text = reply.body.decode()
    assert text.endswith("\n\n")
    return text.removesuffix("\n\n").split("\n\n")


def open_stream(rig: GatewayRig, request: bytes, *, window: int = 65_536) -> RawClient:
    """A client that has read the head of its stream; what its machine takes without it reading is little."""
    client = rig.client()
    client.socket.close()
    client.socket = socket.socket()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.socket.settimeout(60)
    client.socket.connect(rig.address())
    client.send(request)
    assert client.head()[0] == 200
    return client


def test_a_reader_that_stops_holds_nobody_up(rig: GatewayRig, worker: StreamWorker) -> None:
    with open_stream(rig, ask_stream(ENDLESS, 10_000)), rig.client() as other:
        wait_until(lambda: streams(rig, "parked") == 1, "the stream waits for its reader")
        for _ in range(50):
            assert ask_plain(other).status == 200
        assert worker.lines() == [], "the stream has not been closed"


def test_a_slow_reader_gets_all_of_its_stream_while_others_are_served(rig: GatewayRig, worker: StreamWorker) -> None:
    count, size = 900, 10_000
    with open_stream(rig, ask_stream(count, size)) as slow, rig.client() as other:
        wait_until(lambda: streams(rig, "parked") == 1, "the stream waits for its reader")
        got: list[bytes] = []
        for _ in range(12):  # 64 KB/s for two seconds, and then as fast as can be
            got.append(slow.chunk())
            time.sleep(size / 64_000)
            assert ask_plain(other).status == 200
        got += iter(slow.chunk, b"")
    assert b"".join(got) == (b'data: "%b"\n\n' % (b"x" * size)) * count + b"data: [DONE]\n\n"
    assert worker.lines() == [f"{count} done"]


def test_a_fast_reader_of_a_stream_without_end_takes_turns_with_others(rig: GatewayRig, worker: StreamWorker) -> None:
    with rig.client() as greedy, rig.client() as other:
        greedy.send(ask_stream(ENDLESS, 10_000))
        assert greedy.head()[0] == 200
        answered = []
        other.socket.setblocking(False)
        for _ in range(20):
            other.send(post(b'{"inputs": ["hello"]}'))
            while True:
                assert greedy.chunk()
                with contextlib.suppress(BlockingIOError):
                    answered.append(other.socket.recv(1 << 16))
                    break
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answered)
    wait_until(worker.lines, "the model's generator to be closed")


def test_many_readers_that_stop_cost_little_memory(rig: GatewayRig, worker: StreamWorker) -> None:
    gateway, model = psutil.Process(rig.process.pid), psutil.Process(worker.process.pid)
    clients = 40
    with contextlib.ExitStack() as stack:
        before = gateway.memory_info().rss
        for _ in range(clients):
            stack.enter_context(open_stream(rig, ask_stream(ENDLESS, 4_000_000)))
        wait_until(lambda: streams(rig, "parked") == clients, "all wait for their readers")
        # A window, a chunk, and what the connection has not sent: each 64 KiB, twice over for what Python makes of it.
        assert gateway.memory_info().rss - before < clients * 400_000 + 8_000_000
        assert model.memory_info().rss < 2_000_000_000
        with rig.client() as other:
            assert ask_plain(other).status == 200
    wait_until(lambda: len(worker.lines()) == clients, "all generators to be closed")
    assert all(line.endswith("closed") for line in worker.lines())


def test_two_streams_that_wait_on_one_connection_are_bounded(rig: GatewayRig, worker: StreamWorker) -> None:
    """The second must wait for its turn on the connection: its worker does not."""
    with open_stream(rig, ask_stream(2000, 10_000) + ask_stream(2000, 10_000)) as client, rig.client() as other:
        wait_until(lambda: streams(rig, "parked") == 2, "both wait")
        assert ask_plain(other).status == 200
        assert sum(map(len, iter(client.chunk, b""))) > 20_000_000
        assert len(events(client.reply())) == 2001
    assert worker.lines() == ["2000 done", "2000 done"]


def test_a_client_that_leaves_while_its_stream_waits(rig: GatewayRig, worker: StreamWorker) -> None:
    with open_stream(rig, ask_stream(ENDLESS, 10_000)):
        wait_until(lambda: streams(rig, "parked") == 1, "the stream waits for its reader")
    wait_until(worker.lines, "the model's generator to be closed")
    assert worker.lines()[0].endswith("closed")
    assert rig.stats()["headrace_in_flight_requests"] == 0
    assert rig.stats()["headrace_dropped_total"] == 1


def test_a_worker_that_dies_with_streams_that_wait(rig: GatewayRig, worker: StreamWorker) -> None:
    with open_stream(rig, ask_stream(ENDLESS, 10_000)) as one, open_stream(rig, ask_stream(ENDLESS, 10_000)) as two:
        wait_until(lambda: streams(rig, "parked") == 2, "both wait for their readers")
        worker.kill()
        for client in (one, two):
            with contextlib.suppress(ConnectionResetError):
                assert not client.rest().endswith(b"0\r\n\r\n")
        wait_until(lambda: rig.stats()["headrace_streams_open"] == 0, "they are counted out")
        assert rig.wait_for(messages.WorkerLost) == messages.WorkerLost("w1", 0)
        rig.serve(rig.stream_worker("w2"))
        with rig.client() as other:
            assert ask_plain(other).status == 200


def test_a_version_is_drained_when_its_last_stream_that_waited_is_over(rig: GatewayRig, worker: StreamWorker) -> None:
    with open_stream(rig, ask_stream(2000, 5_000)) as slow, rig.client() as other:
        wait_until(lambda: streams(rig, "parked") == 1, "the stream waits for its reader")
        rig.table([messages.Route(model="topic", pool="2")], [rig.pool("2", rig.stream_worker("w2"))])
        assert ask_plain(other).headers["headrace-model"] == "topic/2"
        assert not any(isinstance(message, messages.Drained) for message in rig.received)
        assert sum(map(len, iter(slow.chunk, b""))) > 10_000_000
        assert rig.wait_for(messages.Drained).pool == "1"
    assert worker.lines() == ["2000 done"]


def test_a_worker_that_sends_more_than_it_may_is_not_trusted(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with open_stream(rig, post(b"!greedy 100000", STREAM)) as client:
        rig.wait_for(messages.WorkerLost)
        with contextlib.suppress(ConnectionResetError):
            assert not client.rest().endswith(b"0\r\n\r\n")


# The limits, and what a client sees of them.


def told(reply: Reply) -> tuple[str, str]:
    """(code, message) of the error that ends a stream."""
    kind, data = events(reply)[-1].split("\n")
    assert kind == "event: error"
    said = json.loads(data.removeprefix("data: "))
    return said["error_code"], said["message"]


def test_a_client_that_takes_nothing_is_let_go_of() -> None:
    with GatewayRig(limits=messages.Limits(stream_idle_s=0.5)) as rig:
        worker = rig.stream_worker("w1")
        rig.serve(worker)
        with open_stream(rig, ask_stream(ENDLESS, 10_000)) as client:
            wait_until(lambda: limits(rig) == {"stream_idle_s": 1}, "the client is given up")
            wait_until(worker.lines, "the model's generator to be closed")
            with contextlib.suppress(ConnectionResetError):
                assert not client.rest().endswith(b"0\r\n\r\n"), "what it has is not whole, and it can see that"
        assert rig.stats()["headrace_streams_open"] == 0


def test_a_client_that_reads_slowly_is_not_idle() -> None:
    with GatewayRig(limits=messages.Limits(stream_idle_s=3.0)) as rig:
        rig.serve(rig.stream_worker("w1"))
        with open_stream(rig, ask_stream(1200, 10_000)) as client:
            wait_until(lambda: streams(rig, "parked") == 1, "the stream waits for its reader")
            until_s = time.monotonic() + 6
            while time.monotonic() < until_s:
                for _ in range(30):
                    assert client.chunk()
                time.sleep(0.3)
            assert list(iter(client.chunk, b""))[-1] == b"data: [DONE]\n\n"
        assert limits(rig) == {}


@pytest.mark.parametrize("reads", [True, False])
def test_a_stream_that_lasts_too_long_is_ended_with_an_error(reads: bool) -> None:  # noqa: FBT001
    with GatewayRig(limits=messages.Limits(max_stream_s=1.0)) as rig:
        worker = rig.stream_worker("w1")
        rig.serve(worker)
        with rig.client() as client:
            client.send(ask_stream(ENDLESS, 10_000))
            if not reads:
                wait_until(lambda: limits(rig), "the stream is ended")
            code, message = told(client.reply())
            assert (code, message) == (
                "STREAM_TOO_LONG",
                "This stream has lasted 1 s, as long as one may (max_stream_s).",
            )
            wait_until(worker.lines, "the model's generator to be closed")
            assert ask_plain(client).status == 200, "the connection goes on"
        assert limits(rig) == {"max_stream_s": 1}


def test_a_stream_that_is_too_large_is_ended_with_an_error() -> None:
    with GatewayRig(limits=messages.Limits(max_stream_bytes=1_000_000)) as rig:
        worker = rig.stream_worker("w1")
        rig.serve(worker)
        with rig.client() as client:
            reply = client.ask(ask_stream(ENDLESS, 10_000))
            assert told(reply) == (
                "STREAM_TOO_LONG",
                "This stream holds more than 1000000 bytes, the most that one may (max_stream_bytes).",
            )
            assert 980_000 < len(reply.body) < 1_001_000
            wait_until(worker.lines, "the model's generator to be closed")
            assert ask_plain(client).status == 200
            assert len(events(client.ask(ask_stream(90, 10_000)))) == 91, "a smaller one is whole"
        with rig.client() as client:
            client.send(ask_stream(ENDLESS, 3_000_000))  # it cannot be told in the middle of an event: it breaks off
            assert client.head()[0] == 200
            with contextlib.suppress(ConnectionResetError):
                assert not client.rest().endswith(b"0\r\n\r\n")
        assert limits(rig) == {"max_stream_bytes": 2}


def test_one_address_has_its_share_of_streams(tmp_path: Path) -> None:
    with GatewayRig(limits=messages.Limits(max_streams_per_client=2)) as rig:
        worker = rig.stream_worker("w1")
        rig.serve(worker, queue=messages.QueueOptions(max_rows_per_client=10))
        gate = str(tmp_path / "gate")
        with open_stream(rig, ask_stream(ENDLESS, 10_000)) as one, rig.client() as client:
            with open_stream(rig, ask_stream(ENDLESS, 10_000)):
                wait_until(lambda: streams(rig, "parked") == 2, "both wait for their readers")
                reply = client.ask(ask_stream(1, 10, gate))
                assert (reply.status, reply.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
                assert "2 streams" in str(reply.json()["message"])
                assert "max_streams_per_client" in str(reply.json()["message"])
                assert int(reply.headers["retry-after"]) >= 1
                assert ask_plain(client).status == 200, "other requests are no streams"
            wait_until(lambda: rig.stats()["headrace_streams_open"] == 1, "the second has left")
            for _ in range(5):  # each of these gives its place back, whatever it is answered with
                assert client.ask(ask_stream(1, 10)).status == 200
                assert client.ask(post(b"{", STREAM)).status == 400
            assert one.chunk()
        assert limits(rig) == {"max_streams_per_client": 1}


SAVE = """
import sys
from mlflow.pyfunc import save_model
save_model(sys.argv[2], python_model=sys.argv[1], pip_requirements=["mlflow"])
"""


@pytest.mark.slow
def test_the_settings_are_those_of_the_configuration(tmp_path: Path) -> None:
    echo, model = Path(__file__).parents[1] / "client_rig" / "echo.py", tmp_path / "model"
    subprocess.run([sys.executable, "-W", "ignore", "-c", SAVE, str(echo), str(model)], check=True)
    document = {
        "admin": {"port": 0},
        "gateway": {"max_stream_bytes": 100},
        "log": {"access": "full"},
        "models": {"echo": {"uri": str(model), "port": 0, "environment": "local"}},
    }
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    with serving(tmp_path / "served", document) as one:
        url = f"{one.url('echo')}/invocations"
        small = ask(url, {"inputs": ["one two"]}, headers=headers)
        assert small.body == b'data: "one"\n\ndata: "two"\n\ndata: [DONE]\n\n'
        large = ask(url, {"inputs": ["word " * 100]}, headers=headers)
        assert b"STREAM_TOO_LONG" in large.body
        assert b"[DONE]" not in large.body
        assert one.event("request", error_code="STREAM_TOO_LONG")["status"] == 200
        metrics = ask(f"{one.admin}/metrics").body.decode()
        lines = [line for line in metrics.splitlines() if line.startswith("headrace_stream_limits_total{")]
        (line,) = [line for line in lines if not line.endswith(" 0.0")]
        assert 'limit="max_stream_bytes"' in line
        assert line.endswith(" 1.0")
