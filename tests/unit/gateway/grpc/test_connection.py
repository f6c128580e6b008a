"""HTTP/2 from a hostile client: whatever breaks the protocol ends its connection, and nothing else."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest

from headrace.gateway.grpc import frames
from headrace.gateway.grpc.connection import CONNECTION_WINDOW_BYTES, MAX_CALLS, STREAM_WINDOW_BYTES
from tests.grpc_rig.wire import SERVICE, Wire, gateway

LIVE = "ServerLive"


def with_gateway(work: Callable[[Wire], Awaitable[None]], **limits: int) -> None:
    async def run() -> None:
        made = await gateway(**limits)
        try:
            wire = Wire(made)
            await work(wire)
            wire.connection.connection_lost(None)
            assert made.state.memory.held_bytes == 0
            assert len(made.clients) == 0
        finally:
            made.close()

    asyncio.run(run())


def broken(code: int, *pieces: Callable[[Wire], bytes]) -> None:
    async def work(wire: Wire) -> None:
        wire.taken()
        for piece in pieces:
            wire.send(piece(wire))
        assert wire.goaway() == code
        assert wire.transport.closed

    with_gateway(work, max_header_bytes=2000)


def test_calls_are_answered_in_pieces_of_any_size() -> None:
    async def work(wire: Wire) -> None:
        data = b"".join(wire.call(number, LIVE) for number in range(1, 20, 2))
        wire.send(*[data[at : at + 1] for at in range(len(data))])
        answers = wire.answers()
        assert sorted(answers) == list(range(1, 20, 2))
        assert {one["grpc-status"] for one in answers.values()} == {"0"}

    with_gateway(work)


def frame(kind: int, flags: int = 0, number: int = 0, payload: bytes = b"") -> Callable[[Wire], bytes]:
    return lambda _: frames.frame(kind, flags, number, payload)


def head(number: int, flags: int = frames.END_HEADERS) -> Callable[[Wire], bytes]:
    return lambda wire: wire.head(number, f"{SERVICE}/{LIVE}", flags=flags)


def test_what_breaks_the_protocol_ends_the_connection() -> None:
    broken(frames.PROTOCOL_ERROR, frame(frames.DATA, 0, 1, b"x"))
    broken(frames.PROTOCOL_ERROR, frame(frames.DATA, 0, 0, b"x"))
    broken(frames.PROTOCOL_ERROR, head(2))
    broken(frames.PROTOCOL_ERROR, head(1), frame(frames.DATA, frames.PADDED, 1, b"\5x"))
    broken(frames.PROTOCOL_ERROR, head(1, 0), frame(frames.PING, 0, 0, b"12345678"))
    broken(frames.PROTOCOL_ERROR, frame(frames.CONTINUATION, 0, 1, b"x"))
    broken(frames.PROTOCOL_ERROR, frame(frames.RST_STREAM, 0, 1, b"\0\0\0\1"))
    broken(frames.PROTOCOL_ERROR, frame(frames.PUSH_PROMISE, 0, 1, b"\0\0\0\2"))
    broken(frames.PROTOCOL_ERROR, frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\0"))
    broken(frames.FLOW_CONTROL_ERROR, frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
    broken(frames.FLOW_CONTROL_ERROR, frame(frames.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)))
    broken(frames.FRAME_SIZE_ERROR, frame(frames.SETTINGS, 0, 0, b"12345"))
    broken(frames.FRAME_SIZE_ERROR, frame(frames.PING, 0, 0, b"1"))
    broken(frames.FRAME_SIZE_ERROR, frame(frames.WINDOW_UPDATE, 0, 0, b"1"))
    broken(frames.FRAME_SIZE_ERROR, frame(frames.HEADERS, frames.PRIORITY | frames.END_HEADERS, 1, b"1"))
    broken(frames.FRAME_SIZE_ERROR, lambda _: b"\xff\xff\xff" + bytes(6))
    broken(frames.COMPRESSION_ERROR, frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"))
    broken(frames.COMPRESSION_ERROR, frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x00\x7f"))


def test_floods_end_the_connection() -> None:
    empty = frames.frame(frames.CONTINUATION, 0, 1, b"")
    broken(frames.ENHANCE_YOUR_CALM, head(1, 0), lambda _: empty * 20_000)
    broken(frames.ENHANCE_YOUR_CALM, head(1, 0), frame(frames.CONTINUATION, 0, 1, b"x" * 3000))
    broken(frames.ENHANCE_YOUR_CALM, head(1), lambda _: frames.frame(frames.DATA, 0, 1, b"") * 20_000)
    broken(frames.ENHANCE_YOUR_CALM, lambda _: frames.frame(frames.SETTINGS, 0, 0, b"") * 20_000)


def test_who_speaks_something_else_is_told_so() -> None:
    async def run() -> None:
        made = await gateway()
        wire = Wire(made, begin=False)
        wire.transport.written = b""
        wire.send(b"GET /", b" HTTP/1.1\r\n\r\n")
        assert wire.transport.written.startswith(b"HTTP/1.1 400 ")
        assert wire.transport.closed
        made.close()

    asyncio.run(run())


def test_more_calls_than_there_may_be_are_refused_and_may_be_tried_again() -> None:
    async def work(wire: Wire) -> None:
        for number in range(1, 2 * MAX_CALLS + 2, 2):
            wire.send(wire.head(number, f"{SERVICE}/{LIVE}"))
        (refused,) = [one for one in wire.taken() if one.kind == frames.RST_STREAM]
        assert (refused.number, refused.payload) == (2 * MAX_CALLS + 1, struct.pack(">I", frames.REFUSED_STREAM))
        for number in range(1, 2 * MAX_CALLS, 2):
            wire.send(frames.frame(frames.RST_STREAM, 0, number, b"\0\0\0\x08"))
        wire.send(wire.call(2 * MAX_CALLS + 3, LIVE))
        assert wire.answers()[2 * MAX_CALLS + 3]["grpc-status"] == "0"

    with_gateway(work)


def test_more_metadata_than_there_may_be_is_refused_and_the_connection_goes_on() -> None:
    async def work(wire: Wire) -> None:
        wire.send(wire.call(1, LIVE, b"", ("x", "y" * 1900)))
        assert wire.answers()[1]["grpc-status"] == "8"
        wire.send(wire.call(3, LIVE))
        assert wire.answers()[3]["grpc-status"] == "0"

    with_gateway(work, max_header_bytes=2000)


def test_a_client_that_sends_more_than_its_window_loses_the_call() -> None:
    async def work(wire: Wire) -> None:
        # A stream is not read on while its message is answered: there is no worker, so none is here to show that.
        wire.send(wire.head(1, f"{SERVICE}/ModelInfer"))
        wire.connection._calls[1].credit = 10
        wire.send(frames.frame(frames.DATA, 0, 1, b"\0\0\1\0\0" + bytes(20)))
        (reset,) = [one for one in wire.taken() if one.kind == frames.RST_STREAM]
        assert reset.payload == struct.pack(">I", frames.FLOW_CONTROL_ERROR)

    with_gateway(work)


def test_windows_are_opened_again_as_data_comes() -> None:
    async def work(wire: Wire) -> None:
        wire.taken()
        size = CONNECTION_WINDOW_BYTES
        wire.send(wire.head(1, f"{SERVICE}/ModelInfer"))
        wire.send(frames.frame(frames.DATA, 0, 1, b"\0" + size.to_bytes(4)))
        for _ in range(size // frames.MAX_FRAME_BYTES):
            wire.send(frames.frame(frames.DATA, 0, 1, bytes(frames.MAX_FRAME_BYTES)))
        updates = [one for one in wire.taken() if one.kind == frames.WINDOW_UPDATE]
        granted = {
            number: sum(int.from_bytes(one.payload) for one in updates if one.number == number) for number in (0, 1)
        }
        assert granted[0] >= size // 2
        assert granted[1] >= size - STREAM_WINDOW_BYTES

    with_gateway(work)


def test_answers_wait_for_the_clients_window() -> None:
    async def work(wire: Wire) -> None:
        wire.send(frames.frame(frames.SETTINGS, 0, 0, struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, 3)))
        wire.taken()
        wire.send(wire.call(1, "ServerMetadata"))
        sent = [one for one in wire.taken() if one.kind == frames.DATA]
        assert [len(one.payload) for one in sent] == [3]
        wire.send(frames.frame(frames.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1000)))
        rest = wire.taken()
        assert rest[0].kind == frames.DATA
        assert (rest[-1].kind, rest[-1].flags) == (frames.HEADERS, frames.LAST_BLOCK)
        assert (sent[0].payload + rest[0].payload)[5:].startswith(b"\n\x08headrace")

    with_gateway(work)


def test_a_connection_that_leaves_answers_what_was_on_its_way() -> None:
    async def work(wire: Wire) -> None:
        wire.connection.close_when_done()
        told = wire.taken()
        ping = next(one for one in told if one.kind == frames.PING)
        assert any(one.kind == frames.GOAWAY for one in told)
        wire.send(wire.call(1, LIVE))
        assert wire.answers()[1]["grpc-status"] == "0"
        assert not wire.transport.closed
        wire.send(frames.frame(frames.PING, frames.ACK, 0, ping.payload))
        assert wire.goaway() == frames.NO_ERROR
        assert wire.transport.closed

    with_gateway(work)


def test_a_message_that_does_not_come_is_given_up() -> None:
    async def work(wire: Wire) -> None:
        wire.send(wire.head(1, f"{SERVICE}/ModelInfer") + frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\x09x"))
        wire.connection.expire(wire.connection.deadline_s)
        assert wire.answers()[1]["grpc-status"] == "4"

    with_gateway(work)


@pytest.mark.parametrize("name", ["ModelInfer", "ModelStreamInfer"])
def test_a_message_that_is_cut_off_or_too_large_is_refused(name: str) -> None:
    async def work(wire: Wire) -> None:
        for number, (data, status) in enumerate([(b"\0\0\0\0\x09x", "3"), (b"\0\xff\xff\xff\xffx", "8"), (b"", "3")]):
            at = 2 * number + 1
            opened = wire.head(at, f"{SERVICE}/{name}")
            wire.send(opened, frames.frame(frames.DATA, frames.END_STREAM, at, data))
            wanted = "0" if name == "ModelStreamInfer" and not data else status
            assert wire.answers()[at]["grpc-status"] == wanted

    with_gateway(work, max_body_bytes=1000)


def test_what_is_no_call_of_grpc_is_refused_as_http_has_it() -> None:
    async def work(wire: Wire) -> None:
        block = wire.encoder.encode([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
        wire.send(frames.frame(frames.HEADERS, frames.LAST_BLOCK, 1, block))
        assert wire.answers()[1][":status"] == "415"

    with_gateway(work)
