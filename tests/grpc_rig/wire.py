"""A connection of the gateway without a socket: frames go in as bytes, and what comes out is taken apart."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from hpack import Decoder, Encoder

from headrace.core.protocol import messages
from headrace.gateway.grpc import frames
from headrace.gateway.grpc.connection import GrpcConnection
from headrace.gateway.server import Gateway

HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "test"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
SERVICE = "/inference.GRPCInferenceService"


class Frame(NamedTuple):
    kind: int
    flags: int
    number: int
    payload: bytes


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        assert not self.closed, "something is written after the end"
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0


class Wire:
    """One connection to a gateway that knows of the model `m` and has no worker for it."""

    def __init__(self, gateway: Gateway, *, begin: bool = True) -> None:
        self.transport = Transport()
        self.connection = GrpcConnection(gateway.port(None))
        self.connection.connection_made(self.transport)
        self.encoder = Encoder()
        self._decoder = Decoder()
        if begin:
            self.send(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, b""))

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.transport.closed:
                return
            self.connection.data_received(piece)

    def head(self, number: int, path: str, *more: tuple[str, str], flags: int = frames.END_HEADERS) -> bytes:
        """The frame that opens a call."""
        block = self.encoder.encode([*HEAD, (":path", path), *more])
        return frames.frame(frames.HEADERS, flags, number, block)

    def call(self, number: int, name: str, body: bytes = b"", *more: tuple[str, str]) -> bytes:
        """A whole call of one message."""
        message = b"\0" + len(body).to_bytes(4) + body
        return self.head(number, f"{SERVICE}/{name}", *more) + frames.frame(
            frames.DATA, frames.END_STREAM, number, message
        )

    def taken(self) -> list[Frame]:
        """The frames that came out since the last time."""
        data, self.transport.written = self.transport.written, b""
        found = []
        at = 0
        while at < len(data):
            length, kind, flags, number = frames.head(data, at)
            at += frames.HEAD_BYTES
            found.append(Frame(kind, flags, number, data[at : at + length]))
            at += length
        return found

    def answers(self) -> dict[int, dict[str, str]]:
        """The fields of each answer that came out since the last time, those that begin it and those that end it."""
        found: dict[int, dict[str, str]] = {}
        for one in self.taken():
            if one.kind == frames.HEADERS:
                found.setdefault(one.number, {}).update(self._decoder.decode(one.payload))  # type: ignore[arg-type]
        return found

    def goaway(self) -> int | None:
        """The code that the connection was ended with."""
        codes = [int.from_bytes(one.payload[4:8]) for one in self.taken() if one.kind == frames.GOAWAY]
        return codes[-1] if codes else None


async def gateway(**limits: Any) -> Gateway:
    """A gateway without workers."""
    made = Gateway(asyncio.get_running_loop(), messages.Limits(**limits), lambda _: None)
    await made.apply(messages.Table(generation=1, pools=(), routes=(messages.Route(model="m"),)))
    return made
