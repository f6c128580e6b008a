"""One client's connection: requests in, answers out in the order of the requests.

An `asyncio.Protocol`. Bytes go to a `RequestReader`, except that a whole request with a head that was seen before on
this port skips the parser: the bytes of a head, up to and with its empty line, say everything that a head says, so the
port remembers what the reader made of them (`Port.heads`).

`deadline_s` is when this connection is to be closed unless something happens; the gateway looks at it in its sweep.
What it stands for is `phase` of the reader, or that the client does not read, or that the connection lingers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from headrace.core.batching import DONE, NEVER_S
from headrace.gateway import answers
from headrace.gateway.exchange import Exchange
from headrace.gateway.heads import RequestHead
from headrace.gateway.parsing import BODY, HEAD, IDLE, STOPPED, RequestReader
from headrace.gateway.routing import Want

if TYPE_CHECKING:
    from headrace.gateway.port import Port
    from headrace.gateway.server import Gateway
    from headrace.gateway.streams import StreamReply

_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024 * 1024
_PROBE_S = 0.01
_PROBE_LONGEST_S = 0.5
_MOST_ARRIVING_REQUESTS = 4
"""Incomplete requests of all connections together may hold as much as this many of the largest that are allowed."""
_EXPECTED_TARGETS = frozenset({Want.INVOKE})


class Connection(asyncio.Protocol):
    """See the module's docstring. Made by a listening socket's server for each accepted client."""

    __slots__ = (
        "_closing",
        "_held_bytes",
        "_lingering",
        "_owes_continue",
        "_parked",
        "_peer",
        "_read_paused",
        "_reader",
        "_special",
        "_timed_phase",
        "_unread_bytes",
        "_unwritten_bytes",
        "_write_paused",
        "deadline_s",
        "exchanges",
        "gateway",
        "port",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, port: Port) -> None:
        self.port = port
        self.gateway: Gateway = port.gateway
        self.exchanges: deque[Exchange] = deque()
        self.deadline_s = NEVER_S
        self._reader: RequestReader | None = None
        self._parked: deque[tuple[RequestHead, bytes | None]] = deque()
        # Whether anything of what follows is not as usual: for nearly every answer this one look is enough.
        self._special = False
        self._peer: bytes | None = None
        self._closing = False
        self._lingering = False
        self._owes_continue = False
        self._read_paused = False
        self._write_paused = False
        self._timed_phase = IDLE
        self._held_bytes = 0
        self._unread_bytes = 0
        self._unwritten_bytes = 0

    def __repr__(self) -> str:
        phase = self._reader.phase if self._reader else IDLE
        return f"<Connection phase={phase} exchanges={len(self.exchanges)} closing={self._closing}>"

    def peer(self) -> bytes:
        """Where the client comes from, without its port."""
        if self._peer is None:
            address = self.transport.get_extra_info("peername")
            self._peer = str(address[0]).encode() if isinstance(address, tuple) and address else b""
        return self._peer

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport  # type: ignore[assignment]
        gateway = self.gateway
        self.deadline_s = monotonic() + gateway.limits.keep_alive_s
        if not gateway.opened(self):
            self.on_refused("OVERLOADED", "Too many connections; try again in a moment.")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        reader = self._reader
        if (reader is None or reader.phase == IDLE) and not self._closing:
            end = data.find(b"\r\n\r\n") + 4
            head = self.port.heads.get(data[:end])
            if head is not None and len(data) - end == head.content_length:
                self.on_request(head, data[end:])
                return
        self._read(data)

    def eof_received(self) -> bool:
        """Called by asyncio."""
        if self._lingering or not self.exchanges:
            return False
        # A client that has closed and one that has only finished sending look the same, until something is sent to
        # them: an interim answer costs the latter nothing, and makes the former's machine say that it is gone.
        first = self.exchanges[0]
        if not first.request.http10 and not first.stream:
            self.transport.write(answers.CONTINUE)
            self._probe(_PROBE_S)
        self._stop_reading()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._closing = self._special = True
        self.gateway.closed(self)
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self._may_hold(0)
        self._parked.clear()
        recording = self.gateway.recording
        for exchange in self.exchanges:
            if recording is not None and exchange.output is None:
                recording.left(exchange, monotonic())
            exchange.connection = None
            if exchange.pool is not None and exchange.state != DONE:
                exchange.pool.give_up(exchange)
        self.exchanges.clear()

    def pause_writing(self) -> None:
        """Called by asyncio: the client does not read as fast as it asks."""
        self._write_paused = self._special = True
        self._unwritten_bytes = self.transport.get_write_buffer_size()
        self.deadline_s = monotonic() + self._write_patience_s()
        self._pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._write_paused = False
        now_s = monotonic()
        self._rest(now_s)
        if (reply := self._stream()) is not None:
            reply.go_on()
        if self._parked:
            self._unpark()
        self._resume_reading()

    # What the reader reports.

    def on_head(self, head: RequestHead) -> bool:
        """A request waits for ``100 Continue``."""
        if head.target.want not in _EXPECTED_TARGETS or head.problem:
            # The final answer at once; the body, if it comes at all, is not read as a request.
            head.keep_alive = False
            self._lingering = True
            self.on_request(head, b"")
            return False
        if self.exchanges or self._parked:
            self._owes_continue = self._special = True
        else:
            self.transport.write(answers.CONTINUE)
        return True

    def takes_body(self, head: RequestHead) -> bool:
        """Whether a worker could be given this request with its body."""
        return not head.problem and self.gateway.takes_body(head.target)

    def on_request(self, head: RequestHead, body: bytes | None) -> None:
        """A request is complete; `body` None: it was not kept, and no worker is asked."""
        self._owes_continue = False
        self._timed_phase = IDLE
        if len(self.exchanges) >= self.gateway.limits.max_pipelined or self._write_paused or self._parked:
            self._parked.append((head, body))
            self._special = True
            self._pause_reading()
            return
        now_s = monotonic()
        exchange = Exchange(self, head, body or b"", now_s)
        self.exchanges.append(exchange)
        self.deadline_s = NEVER_S
        if not head.keep_alive:
            self._closing = self._special = True
        if body is None:
            self.gateway.answer(exchange, now_s)
        else:
            self.gateway.handle(exchange, now_s)

    def on_refused(self, code: str, message: str) -> None:
        """One error answer, after those of earlier requests; then close."""
        head = RequestHead()
        head.keep_alive = False
        self._closing = self._special = True
        self._lingering = True
        exchange = Exchange(self, head, b"", monotonic())
        self.exchanges.append(exchange)
        self.gateway.refused(code)
        retry_after_s = 1 if code == "OVERLOADED" else 0
        exchange.fail(code, message, exchange.arrived_s, retry_after_s=retry_after_s)

    # What an exchange or the gateway asks for.

    def swap(self, exchange: Exchange, other: Exchange) -> None:
        """`other` takes the place of the request that came last."""
        if self.exchanges[-1] is not exchange:
            raise RuntimeError("only the request that has just come can be swapped")
        self.exchanges[-1] = other

    def complete(self, exchange: Exchange, output: bytes, now_s: float) -> None:
        """Take the whole answer of `exchange`; it is written when all before it are."""
        exchanges = self.exchanges
        if exchanges[0] is not exchange:
            exchange.output = output
            return
        exchanges.popleft()
        self.transport.write(output)
        reader = self._reader
        if exchanges or self._special or self.gateway.draining or (reader is not None and reader.phase != IDLE):
            self._advance(now_s)
        else:
            self.deadline_s = now_s + self.gateway.limits.keep_alive_s

    def write_part(self, exchange: Exchange, data: bytes) -> bool:
        """Write a piece of a streamed answer, or hold it until its turn; False: no more for now (see `go_on`)."""
        if self.exchanges[0] is not exchange:
            exchange.reply.held.append(data)  # type: ignore[union-attr]
            return False
        self.transport.write(data)
        return not self._write_paused

    def end_stream(self, exchange: Exchange, tail: bytes, now_s: float, *, last: bool) -> None:
        """The streamed answer is whole; `last`: its end is the connection's end."""
        if last:
            self._closing = self._special = True
        if self.exchanges[0] is not exchange:
            exchange.reply.held.append(tail)  # type: ignore[union-attr]
            return
        self.exchanges.popleft()
        if tail:
            self.transport.write(tail)
        self._advance(now_s)

    def expire(self, now_s: float) -> None:
        """`deadline_s` has passed: say so where a request was being read, and close."""
        phase = self._reader.phase if self._reader is not None else IDLE
        if self._write_paused and self._drains(now_s):
            return
        if self._write_paused or self._lingering or (self._closing and not self.exchanges):
            if self._write_paused and (reply := self._stream()) is not None:
                reply.starved()
            self.transport.abort()
        elif phase in {HEAD, BODY} and not self.exchanges:
            part = "head" if phase == HEAD else "body"
            self._stop_reading()
            self.on_refused("REQUEST_TIMEOUT", f"The request's {part} did not arrive in time.")
            self.deadline_s = now_s + _LINGER_S
        elif not self.exchanges:
            self.transport.close()

    def close_when_done(self) -> None:
        """Draining: close now if nothing is in flight, else after the last answer."""
        if self._closing:
            return
        phase = self._reader.phase if self._reader is not None else IDLE
        if not self.exchanges and not self._parked and phase == IDLE:
            self._closing = self._special = True
            self.transport.close()

    # The rest is this connection's own business.

    def _read(self, data: bytes) -> None:
        reader = self._reader
        if self._closing:
            self._discard(data)
            return
        if reader is None:
            reader = self._reader = RequestReader(self, self.gateway.limits, self.port.model)
        was_idle = reader.phase == IDLE
        reader.feed(data)
        if was_idle and reader.first_head is not None and reader.first_head.reusable:
            self.port.remember(data, reader.first_head)
        reader.first_head = None  # it may be large, and this connection may be idle from now on
        held_bytes = reader.held_bytes
        if held_bytes != self._held_bytes and not self._may_hold(held_bytes):
            self._stop_reading()
            self.on_refused("OVERLOADED", "Too many large requests are arriving at once; try again in a moment.")
            return
        phase = reader.phase
        if phase != self._timed_phase and phase in {HEAD, BODY} and not self._write_paused and not self.exchanges:
            self._timed_phase = phase
            limits = self.gateway.limits
            # A fixed time for all of it, from its first byte: a client that trickles gains nothing.
            self.deadline_s = monotonic() + (limits.header_timeout_s if phase == HEAD else limits.body_timeout_s)

    def _may_hold(self, held_bytes: int) -> bool:
        """Account for an incomplete request; False if all connections together hold too much of such."""
        gateway = self.gateway
        gateway.arriving_bytes += held_bytes - self._held_bytes
        more = held_bytes > self._held_bytes
        self._held_bytes = held_bytes
        most_bytes = _MOST_ARRIVING_REQUESTS * (gateway.limits.max_body_bytes + gateway.limits.max_header_bytes)
        return not more or gateway.arriving_bytes <= most_bytes

    def _advance(self, now_s: float) -> None:
        exchanges = self.exchanges
        while exchanges:
            first = exchanges[0]
            if first.output is not None:
                self.transport.write(first.output)
            elif first.reply is not None and first.reply.held:
                self.transport.write(b"".join(first.reply.held))
                first.reply.held.clear()
                if not first.reply.ended:
                    if not self._write_paused:
                        first.reply.go_on()
                    break
            else:
                break
            exchanges.popleft()
        if self._parked and not self._write_paused:
            self._unpark()
        if exchanges or self._parked:
            return
        if self._closing:
            self._finish(now_s)
        else:
            if self._owes_continue:
                self._owes_continue = False
                self.transport.write(answers.CONTINUE)
            self._resume_reading()
            self._rest(now_s)

    def _rest(self, now_s: float) -> None:
        """Set the time for what is awaited next, when no answer is."""
        if self.exchanges or self._closing or self._write_paused:
            return
        self._special = bool(self._parked or self._read_paused or self._owes_continue)
        phase = self._timed_phase = self._reader.phase if self._reader is not None else IDLE
        limits = self.gateway.limits
        if phase == IDLE:
            self.deadline_s = now_s + limits.keep_alive_s
            if self.gateway.draining:
                self.close_when_done()
        else:
            self.deadline_s = now_s + (limits.header_timeout_s if phase == HEAD else limits.body_timeout_s)

    def _unpark(self) -> None:
        parked = self._parked
        self._parked = deque()
        while parked:
            head, body = parked.popleft()
            self.on_request(head, body)
            if self._parked:
                self._parked.extend(parked)
                return
        self._resume_reading()

    def _finish(self, now_s: float) -> None:
        """The last answer is written: close, but let a client that is still sending read it first."""
        if self._lingering and not self.transport.is_closing():
            self.deadline_s = now_s + _LINGER_S
            self._resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        if self._unread_bytes > _LINGER_BYTES:
            self.transport.abort()

    def _drains(self, now_s: float) -> bool:
        """Whether a slow client has read anything since the last look; then it gets as much time again."""
        unwritten_bytes = self.transport.get_write_buffer_size()
        if unwritten_bytes >= self._unwritten_bytes:
            return False
        self._unwritten_bytes = unwritten_bytes
        self.deadline_s = now_s + self._write_patience_s()
        return True

    def _write_patience_s(self) -> float:
        """How long the client may take nothing of what is written for it."""
        limits = self.gateway.limits
        return limits.body_timeout_s if self._stream() is None else limits.stream_idle_s

    def _stream(self) -> StreamReply | None:
        """The stream that is being written."""
        return self.exchanges[0].reply if self.exchanges else None

    def _probe(self, delay_s: float) -> None:
        """Nobody reads from this socket any more, so a reset goes unseen unless it is looked for."""
        if self.transport.is_closing():
            return
        try:
            self.transport.get_extra_info("socket").getpeername()
        except OSError:
            self.transport.abort()
            return
        self.gateway.loop.call_later(delay_s, self._probe, min(2.0 * delay_s, _PROBE_LONGEST_S))

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.phase = STOPPED
            self._reader.drop_body()
            self._may_hold(0)
        self._closing = self._special = True

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = self._special = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self._write_paused and not self._parked and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()
