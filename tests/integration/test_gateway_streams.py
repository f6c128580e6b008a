"""Streams of a worker on their way through a gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.gateway_rig.client import post
from tests.gateway_rig.rig import GatewayRig, wait_until


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        yield rig


STREAM = "Accept: text/event-stream"


def test_a_stream_comes_in_chunks_and_the_connection_goes_on(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        client.send(post(b"!stream 3", STREAM) + post(b"next") + post(b"!stream 2", STREAM) + post(b"last"))
        reply = client.reply()
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["transfer-encoding"] == "chunked"
        assert reply.headers["headrace-model"] == "topic/1"
        assert reply.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert client.reply().body == b'{"predictions": [next]}'
        assert client.reply().body == b"data: 0\n\ndata: 1\n\n"
        assert client.reply().body == b'{"predictions": [last]}'


def test_a_stream_for_http_1_0_ends_with_the_connection(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    with rig.client() as client:
        reply = client.ask(post(b"!stream 2", STREAM, "Connection: keep-alive", version="1.0"))
        assert reply.headers["connection"] == "close"
        assert reply.body == b"data: 0\n\ndata: 1\n\n"


def test_a_stream_that_breaks_off_does_not_look_whole(rig: GatewayRig) -> None:
    worker = rig.worker("w1")
    rig.serve(worker)
    with rig.client() as client:
        client.send(post(b"!break 2", STREAM))
        assert client.head()[0] == 200
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = client.rest()
        assert not rest.endswith(b"0\r\n\r\n")
    assert rig.stats()["headrace_model_errors_total"] == 1
    gate = str(rig.directory / "never")
    with rig.client() as client:
        client.send(post(b"!dribble %b" % gate.encode(), STREAM))
        assert client.head()[0] == 200
        worker.kill()
        with contextlib.suppress(ConnectionResetError):
            rest = client.rest()
        assert not rest.endswith(b"0\r\n\r\n")
    assert rig.stats()["headrace_model_errors_total"] == 2


def test_a_client_that_leaves_its_stream_frees_the_worker(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"))
    gate = str(rig.directory / "never").encode()
    with rig.client() as client:
        client.send(post(b"!dribble %b" % gate, STREAM))
        assert client.head()[0] == 200
        assert client.chunk() == b"data: 0\n\n"
    with rig.client() as client:
        assert client.ask(post(b"next")).status == 200


def test_a_slow_reader_slows_its_stream_down_and_nobody_else(rig: GatewayRig) -> None:
    one, two = rig.worker("w1"), rig.worker("w2")
    rig.serve(one, two)
    with rig.client() as client:
        client.send(post(b"!flood 500", STREAM))
        wait_until(lambda: rig.stats()["headrace_requests_total"] >= 1, "the stream has begun")
        with rig.client() as other:
            for _ in range(20):
                assert other.ask(post(b"1")).status == 200
        assert rig.stats()["headrace_in_flight_requests"] == 1
        assert client.reply().body.count(b"data: ") == 500


def test_two_streams_of_one_connection_come_one_after_the_other(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"), rig.worker("w2"))
    gate = rig.directory / "gate"
    with rig.client() as client:
        client.send(post(b"!dribble %b" % str(gate).encode(), STREAM) + post(b"!stream 20000", STREAM))
        assert client.head()[0] == 200
        assert client.chunk() == b"data: 0\n\n"
        gate.touch()
        while client.chunk():
            pass
        assert client.reply().body.endswith(b"data: 19999\n\n")
