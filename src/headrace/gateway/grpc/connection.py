"""One client's connection: HTTP/2 (RFC 9113) as far as a server of gRPC needs it, written for short ways.

An `asyncio.Protocol`. Frames come in and go to the `Call` of their stream; answers go out as far as the client's
windows let them. Pushes, priorities and a table for what is written are not used. What breaks the protocol ends
the connection, and nothing else.

`account` has what the client makes the gateway hold. `deadline_s` is when this connection is to be looked at:
`Clients.expire` does, and `expire` ends what is due.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from headrace.core.serving.batching import NEVER_S
from headrace.core.serving.memory import ConnectionMemory
from headrace.gateway.grpc import frames
from headrace.gateway.grpc.call import Call
from headrace.gateway.grpc.frames import Broken
from headrace.gateway.grpc.headers import BadHeaders, Fields, HeaderReader
from headrace.gateway.grpc.methods import METHODS, UNKNOWN
from headrace.gateway.grpc.outbox import LARGEST_WINDOW, Outbox
from headrace.gateway.http.flow import LINGER_S, Flow

if TYPE_CHECKING:
    from headrace.gateway.http.port import Port

MAX_CALLS = 1024
"""How many calls a client may have open on one connection: further ones wait at the client."""

STREAM_WINDOW_BYTES = 1024 * 1024
CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
_MAX_IDLE_FRAMES = 10_000
_PING = b"headrace"
_NOT_GRPC = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 42\r\nconnection: close\r\n\r\n"
    b"This port speaks gRPC (HTTP/2), not HTTP.\n"
)


class GrpcConnection(asyncio.Protocol):
    """See the module's docstring. Made by a listening socket's server for each accepted client."""

    transport: asyncio.Transport

    def __init__(self, port: Port) -> None:
        state = port.state
        self.port = port
        self.writer = state.writer
        self.recording = state.recording
        self.account = ConnectionMemory(state.memory)
        self.deadline_s = NEVER_S
        self._limits = state.limits
        self._calls: dict[int, Call] = {}
        self._headers = HeaderReader(state.limits.max_header_bytes)
        self._buffer = b""
        self._begun = self._closed = False
        self._leaving = self._told = False
        self._last = 0
        self._block: tuple[int, bool, bytearray] | None = None
        self._idle_frames = 0
        self._peer: bytes | None = None
        self.outbox: Outbox[Call] = Outbox(self._finished, self.remind, state.limits.body_timeout_s)
        self._taken = 0

    def __repr__(self) -> str:
        return f"<GrpcConnection calls={len(self._calls)} leaving={self._leaving}>"

    def peer(self) -> bytes:
        """The address of the client, without its port."""
        if self._peer is None:
            address = self.transport.get_extra_info("peername")
            self._peer = str(address[0]).encode() if isinstance(address, tuple) and address else b""
        return self._peer

    @property
    def write_paused(self) -> bool:
        """Whether the client does not read as fast as it asks."""
        return self._flow.write_paused

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = self.outbox.transport = transport  # type: ignore[assignment]
        self._flow = Flow(self.transport, self.account)
        self.deadline_s = monotonic() + self._limits.header_timeout_s
        sock = transport.get_extra_info("socket")
        clients = self.port.clients
        clients.long_lived.add(self)
        clients.opened(self, sock.fileno() if sock is not None else 0)
        if self.writer.draining:
            self.close_when_done()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._closed:
            return
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = data[self._read(data) :]
        except BadHeaders as error:
            self._end(frames.COMPRESSION_ERROR, str(error))
        except Broken as error:
            self._end(error.code, str(error))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._closed = True
        self.port.clients.closed(self)
        self._leave()
        self._buffer = b""
        self.account.close()

    def pause_writing(self) -> None:
        """Called by asyncio: the client does not read as fast as it asks."""
        self._flow.pause_writing()
        self.remind(monotonic() + self._limits.body_timeout_s)
        self.port.clients.relieve()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._flow.resume_writing()
        for call in list(self._calls.values()):
            if not call.pending:
                call.flushed()
        self._flow.resume_reading()

    # What the owner of all connections asks for.

    def on_refused(self, code: str, message: str) -> None:  # noqa: ARG002 - HTTP/2 has other codes
        """Report the limit that was met, and close."""
        self._begin()
        self._end(frames.NO_ERROR, message)

    def expire(self, now_s: float) -> None:
        """`deadline_s` has passed: end what is due."""
        if self._closed or (self._flow.write_paused and not self._flow.drains()):
            self.transport.abort()
            return
        for call in [call for call in self._calls.values() if call.due_s <= now_s]:
            call.expire()
        if not self._calls:
            if not self._begun or self._leaving:
                self.transport.close()
                return
            self.close_when_done()
            return
        self.deadline_s = min(call.due_s for call in self._calls.values())
        if self._flow.write_paused:
            self.remind(now_s + self._limits.body_timeout_s)

    def close_when_done(self) -> None:
        """Have the client open no more calls here, and close after the last answer.

        Calls that are on their way are answered: they are here when the answer to a ping is.
        """
        if self._leaving or self._closed:
            return
        self._leaving = True
        self.transport.write(frames.goaway(LARGEST_WINDOW, frames.NO_ERROR, b"the server ends this connection"))
        self.transport.write(frames.frame(frames.PING, 0, 0, _PING))
        self.remind(monotonic() + LINGER_S)

    # What calls ask for.

    def remind(self, due_s: float) -> None:
        """Something may be due then."""
        self.deadline_s = min(self.deadline_s, due_s)

    def reset(self, call: Call, code: int = frames.CANCEL) -> None:
        """End a call without more words."""
        self.transport.write(frames.reset(call.number, code))
        call.ended = True
        self._forget(call)
        call.leave()

    def grant(self, call: Call) -> None:
        """The client may send more of a call."""
        if call.taken >= STREAM_WINDOW_BYTES // 2 and not call.done:
            self.transport.write(frames.window_update(call.number, call.taken))
            call.credit += call.taken
            call.taken = 0

    # Inside: what comes.

    def _read(self, data: bytes) -> int:
        """Read all whole frames; returns where they end. Raises Broken and BadHeaders."""
        at, size = 0, len(data)
        if not self._begun:
            if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                self._closed = True
                self.transport.write(_NOT_GRPC)
                self.transport.close()
                return size
            if size < len(frames.PREFACE):
                return 0
            self._begin()
            self._rest()
            at = len(frames.PREFACE)
        while size - at >= frames.HEAD_BYTES:
            length, kind, flags, number = frames.head(data, at)
            if length > frames.MAX_FRAME_BYTES:
                raise Broken(frames.FRAME_SIZE_ERROR, "a frame that is too large")
            end = at + frames.HEAD_BYTES + length
            if end > size:
                break
            payload = data[at + frames.HEAD_BYTES : end]
            at = end
            if kind == frames.DATA and self._block is None:
                self._on_data(number, flags, payload)
            else:
                self._on_frame(kind, flags, number, payload)
            if self._closed:
                return size
        return at

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._taken += size
        if self._taken >= CONNECTION_WINDOW_BYTES // 2:
            # What is held is bounded by the account, and a call's part by its own window.
            self.transport.write(frames.window_update(0, self._taken))
            self._taken = 0
        call = self._calls.get(number)
        if call is None or call.ended:
            if number == 0 or number > self._last or call is not None:
                raise Broken(frames.PROTOCOL_ERROR, "data of a call that is not open")
            return
        call.credit -= size
        call.taken += size
        if call.credit < 0:
            self.reset(call, frames.FLOW_CONTROL_ERROR)
            return
        ended = flags & frames.END_STREAM != 0
        if not size and not ended:
            self._idle()
        call.received(frames.unpadded(flags, payload), ended=ended)

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or number != self._block[0]):
            raise Broken(frames.PROTOCOL_ERROR, "a frame between those of a header block")
        if kind == frames.HEADERS:
            ended = flags & frames.END_STREAM != 0
            block = frames.without_priority(flags, frames.unpadded(flags, payload))
            if flags & frames.END_HEADERS:
                self._on_headers(number, block, ended=ended)
            else:
                self._block = (number, ended, bytearray(block))
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, payload)
        else:
            self._idle()
            self._on_control(kind, flags, number, payload)

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            call = self._calls.get(number)
            if number == 0 or number > self._last or len(payload) != 4:
                raise Broken(frames.PROTOCOL_ERROR, "a reset of no call")
            if call is not None:
                call.ended = True
                self._forget(call)
                call.leave()
        elif kind == frames.SETTINGS:
            if number:
                raise Broken(frames.PROTOCOL_ERROR, "settings of a call")
            if not flags & frames.ACK:
                self._on_settings(payload)
        elif kind == frames.PING:
            if number or len(payload) != 8:
                raise Broken(frames.FRAME_SIZE_ERROR, "a ping that is none")
            if not flags & frames.ACK:
                self.transport.write(frames.frame(frames.PING, frames.ACK, 0, payload))
            elif self._leaving and payload == _PING:
                # Whatever the client had sent before it heard of the end is here.
                self._told = True
                self.transport.write(frames.goaway(self._last, frames.NO_ERROR, b""))
                self._rest()
        elif kind == frames.PUSH_PROMISE:
            raise Broken(frames.PROTOCOL_ERROR, "a push")

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(frames.PROTOCOL_ERROR, "a continuation of nothing")
        number, ended, block = self._block
        block += payload
        if not payload:
            self._idle()
        if len(block) > self._limits.max_header_bytes:
            raise Broken(frames.ENHANCE_YOUR_CALM, f"the fields exceed {self._limits.max_header_bytes} bytes")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_headers(number, bytes(block), ended=ended)

    def _on_headers(self, number: int, block: bytes, *, ended: bool) -> None:
        fields = self._headers.read(block)
        call = self._calls.get(number)
        if call is not None:  # trailers, of which gRPC has none from clients
            if call.ended or not ended:
                raise Broken(frames.PROTOCOL_ERROR, "fields where there may be none")
            call.received(b"", ended=True)
            return
        if not number & 1:
            raise Broken(frames.PROTOCOL_ERROR, "a call with an even number")
        if number <= self._last:
            return  # of a call that has ended here
        self._last = number
        if self._told or len(self._calls) >= MAX_CALLS:
            self.transport.write(frames.reset(number, frames.REFUSED_STREAM))
            return
        self._idle_frames = 0
        known = fields or Fields()
        is_grpc = known.get(b"content-type", b"").startswith(b"application/grpc")
        if fields is not None and (known.get(b":method") != b"POST" or not is_grpc):
            self.transport.write(frames.frame(frames.HEADERS, frames.LAST_BLOCK, number, frames.NOT_GRPC))
            return
        method = METHODS.get(known.get(b":path", b""), UNKNOWN)
        call = Call(self, number, known, method, window=self.outbox.first_window, credit=STREAM_WINDOW_BYTES)
        self._calls[number] = call
        if fields is None:
            most = self._limits.max_header_bytes
            call.ended = ended
            call.refuse("HEADERS_TOO_LARGE", f"The call's metadata exceeds {most} bytes.")
        elif ended:
            call.received(b"", ended=True)
        else:
            self.remind(call.due_s)

    def _on_settings(self, payload: bytes) -> None:
        for key, value in frames.read_settings(payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise Broken(frames.FLOW_CONTROL_ERROR, "a window that is too large")
                for call in self._calls.values():
                    call.window += value - self.outbox.first_window
                self.outbox.first_window = value
            elif key == frames.MAX_FRAME_SIZE:
                self.outbox.limit_frames(value)
        self.transport.write(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self.outbox.flush()

    def _on_window_update(self, number: int, payload: bytes) -> None:
        size = frames.increment(payload)
        call = self._calls.get(number)
        if number and call is None:
            return
        if self.outbox.widen(call, size):
            return
        if call is None:
            raise Broken(frames.FLOW_CONTROL_ERROR, "a window that is too large")
        self.reset(call, frames.FLOW_CONTROL_ERROR)

    def _idle(self) -> None:
        """Count what costs time and brings nothing."""
        self._idle_frames += 1
        if self._idle_frames > _MAX_IDLE_FRAMES:
            raise Broken(frames.ENHANCE_YOUR_CALM, "too many frames without a call")

    # Inside: what ends.

    def _finished(self, call: Call) -> None:
        """All of an answer is out."""
        if not call.ended:
            self.transport.write(frames.reset(call.number, frames.NO_ERROR))
        self._forget(call)
        call.close()
        if self._flow.write_paused:
            self._flow.count_unread()
            self.port.clients.relieve()

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        self.outbox.forget(call)
        self._idle_frames = 0
        if not self._calls:
            self._rest()

    def _begin(self) -> None:
        """Say what the server is like: not before it is known that the client speaks HTTP/2."""
        self._begun = True
        self.transport.write(
            frames.settings(MAX_CALLS, STREAM_WINDOW_BYTES, self._limits.max_header_bytes)
            + frames.window_update(0, CONNECTION_WINDOW_BYTES - 65_535)
        )

    def _rest(self) -> None:
        """No call is open."""
        if self._calls or self._closed:
            return
        if self._told:
            self.transport.close()
            return
        self.deadline_s = monotonic() + (LINGER_S if self._leaving else self._limits.keep_alive_s)

    def _leave(self) -> None:
        """The client does not wait for answers any more."""
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.leave()

    def _end(self, code: int, message: str) -> None:
        """Report the error, and close."""
        if not self._closed:
            self._closed = True
            self.transport.write(frames.goaway(self._last, code, message.encode()))
            self.transport.close()
            self._leave()
            self.deadline_s = monotonic() + LINGER_S
