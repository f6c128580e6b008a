"""One client's connection: requests in, answers out in the order of the requests.

An `asyncio.Protocol`. Bytes go to a `RequestReader`, except that a whole request with a head that was seen before on
this port skips the parser: the bytes of a head, up to and with its empty line, say everything that a head says, so the
port remembers what the reader made of them (`Port.heads`).

`deadline_s` is when this connection is to be closed unless something happens; `Clients.expire` looks at it.
What it stands for is `phase` of the reader, or that the client does not read, or that the connection lingers.

`account` has what the client makes the gateway hold: requests that arrive, those that wait for answers (but a little
one alone, which is nearly every request), answers that wait for their turn, answers that are not read. With
`_AHEAD_BYTES` of it in hand nothing more is read until answers are out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from headrace.core.serving.batching import NEVER_S
from headrace.core.serving.memory import LITTLE_BYTES, ConnectionMemory
from headrace.gateway.exchange import Exchange, Reply
from headrace.gateway.http import answers
from headrace.gateway.http.flow import LINGER_S, Flow
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.parsing import BODY, HEAD, IDLE, STOPPED, RequestReader
from headrace.gateway.http.targets import MAY_ASK

if TYPE_CHECKING:
    from headrace.gateway.http.port import Port

_AHEAD_BYTES = 1024 * 1024
_REQUEST_BYTES = 1024
"""About what a request needs beside its bytes."""


class Connection(asyncio.Protocol):
    """See the module's docstring. Made by a listening socket's server for each accepted client."""

    __slots__ = (
        "_application",
        "_closing",
        "_flow",
        "_limits",
        "_lingering",
        "_owes_continue",
        "_parked",
        "_peer",
        "_reader",
        "_special",
        "_timed_phase",
        "account",
        "deadline_s",
        "exchanges",
        "port",
        "recording",
        "transport",
        "writer",
    )

    transport: asyncio.Transport

    def __init__(self, port: Port) -> None:
        self.port = port
        state = port.state
        self.writer = state.writer
        self.recording = state.recording
        self._application = port.application
        self._limits = state.limits
        self.exchanges: deque[Exchange] = deque()
        self.deadline_s = NEVER_S
        self._reader: RequestReader | None = None
        self._parked: deque[tuple[RequestHead, bytes | None, int]] = deque()
        self.account = ConnectionMemory(state.memory)
        # Whether anything of what follows is not as usual: for nearly every answer this one look is enough.
        self._special = False
        self._peer: bytes | None = None
        self._closing = self._lingering = self._owes_continue = False
        self._timed_phase = IDLE

    def __repr__(self) -> str:
        phase = self._reader.phase if self._reader else IDLE
        return f"<Connection phase={phase} exchanges={len(self.exchanges)} closing={self._closing}>"

    def peer(self) -> bytes:
        """The address of the client, without its port."""
        if self._peer is None:
            address = self.transport.get_extra_info("peername")
            self._peer = str(address[0]).encode() if isinstance(address, tuple) and address else b""
        return self._peer

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport  # type: ignore[assignment]
        self._flow = Flow(self.transport, self.account)
        self.deadline_s = monotonic() + self._limits.keep_alive_s
        sock = transport.get_extra_info("socket")
        self.port.clients.opened(self, sock.fileno() if sock is not None else 0)

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
        if self._lingering or not self.exchanges or not self.transport.can_write_eof():
            return False  # TLS cannot be closed by halves (asyncio)
        # A client that has closed and one that has only finished sending look the same, until something is sent to
        # them: an interim answer costs the latter nothing, and makes the former's machine say that it is gone.
        first = self.exchanges[0]
        if not first.request.http10 and not first.stream:
            self.transport.write(answers.CONTINUE)
            self._flow.watch_for_reset(self.port.state.loop)
        self._stop_reading()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._closing = self._special = True
        self.port.clients.closed(self)
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._parked.clear()
        self.account.close()
        recording = self.recording
        for exchange in self.exchanges:
            if recording is not None and exchange.output is None:
                recording.left(exchange, monotonic())
            exchange.connection = None
            if exchange.pool is not None and exchange.is_awaited:
                exchange.pool.give_up(exchange)
        self.exchanges.clear()

    def pause_writing(self) -> None:
        """Called by asyncio: the client does not read as fast as it asks."""
        self._special = True
        self._flow.pause_writing()
        self.deadline_s = monotonic() + self._write_patience_s()
        self.port.clients.relieve()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._flow.resume_writing()
        self._rest(monotonic())
        if (reply := self._stream()) is not None:
            reply.go_on()
        if self._parked:
            self._unpark()
        self._resume_reading()

    # What the reader reports.

    def on_head(self, head: RequestHead) -> bool:
        """A request waits for ``100 Continue``."""
        if head.target.want not in MAY_ASK or head.problem:
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
        return not head.problem and self._application.takes_body(head.target)

    def on_request(self, head: RequestHead, body: bytes | None) -> None:
        """A request is complete; `body` None: it was not kept, and no worker is asked."""
        self._owes_continue = False
        self._timed_phase = IDLE
        held_bytes = 0
        if self.exchanges or self._special or body is None or head.size_bytes + len(body) > LITTLE_BYTES:
            held_bytes = self._hold(head, body)
            if not held_bytes:
                return
        now_s = monotonic()
        exchange = Exchange(self, head, body or b"", now_s)
        exchange.held_bytes = held_bytes
        self.exchanges.append(exchange)
        self.deadline_s = NEVER_S
        if not head.keep_alive:
            self._closing = self._special = True
        if body is None:
            self._application.answer(exchange, now_s)
        elif held_bytes and not self.account.fair:
            self._application.overloaded(exchange, now_s)
        else:
            self._application.handle(exchange, now_s)

    def on_refused(self, code: str, message: str, protocol: str = "") -> None:
        """One error answer, after those of earlier requests; then close."""
        head = RequestHead()
        head.target, head.keep_alive = head.target._replace(protocol=protocol), False
        self._closing = self._special = self._lingering = True
        exchange = Exchange(self, head, b"", monotonic())
        self.exchanges.append(exchange)
        self.port.state.counters.refuse(code)
        exchange.fail(code, message, exchange.arrived_s, retry_after_s=int(code == "OVERLOADED"))

    # What an exchange or the gateway asks for.

    def swap(self, exchange: Exchange, other: Exchange) -> None:
        """`other` takes the place of the request that came last."""
        if self.exchanges[-1] is not exchange:
            raise RuntimeError("only the request that has just come can be swapped")
        other.held_bytes = exchange.held_bytes
        self.exchanges[-1] = other

    def complete(self, exchange: Exchange, output: bytes, now_s: float) -> None:
        """Take the whole answer of `exchange`; it is written when all before it are."""
        exchanges = self.exchanges
        if exchanges[0] is not exchange:
            exchange.output = output
            exchange.body = b""
            self.account.hold(len(output) - exchange.held_bytes)
            exchange.held_bytes = len(output)
            return
        exchanges.popleft()
        if exchange.held_bytes:
            self.account.hold(-exchange.held_bytes)
        self.transport.write(output)
        reader = self._reader
        if exchanges or self._special or self.writer.draining or (reader is not None and reader.phase != IDLE):
            self._advance(now_s)
        else:
            self.deadline_s = now_s + self._limits.keep_alive_s

    def write_part(self, exchange: Exchange, data: bytes) -> bool:
        """Write a piece of a streamed answer, or hold it until its turn; False: no more for now (see `go_on`)."""
        if self.exchanges[0] is not exchange:
            exchange.reply.held.append(data)  # type: ignore[union-attr]
            return False
        self.transport.write(data)
        return not self._flow.write_paused

    def end_stream(self, exchange: Exchange, tail: bytes, now_s: float, *, last: bool) -> None:
        """The streamed answer is whole; `last`: its end is the connection's end."""
        if last:
            self._closing = self._special = True
        if self.exchanges[0] is not exchange:
            exchange.reply.held.append(tail)  # type: ignore[union-attr]
            return
        self.exchanges.popleft()
        self.account.hold(-exchange.held_bytes)
        if tail:
            self.transport.write(tail)
        self._advance(now_s)

    def expire(self, now_s: float) -> None:
        """`deadline_s` has passed: say so where a request was being read, and close."""
        phase = self._reader.phase if self._reader is not None else IDLE
        if self._flow.write_paused and self._flow.drains():
            self.deadline_s = now_s + self._write_patience_s()
            return
        if self._flow.write_paused or self._lingering or (self._closing and not self.exchanges):
            if self._flow.write_paused and (reply := self._stream()) is not None:
                reply.starved()
            self.transport.abort()
        elif phase in {HEAD, BODY} and not self.exchanges:
            part = "head" if phase == HEAD else "body"
            self._stop_reading()
            self.on_refused("REQUEST_TIMEOUT", f"The request's {part} did not arrive in time.")
            self.deadline_s = now_s + LINGER_S
        elif not self.exchanges and not self._flow.has_unread:
            self.transport.close()

    def close_when_done(self) -> None:
        """Draining: close now if nothing is in flight or has come, else after the last answer."""
        if self._closing:
            return
        phase = self._reader.phase if self._reader is not None else IDLE
        if not self.exchanges and not self._parked and phase == IDLE and not self._flow.has_unread:
            self._closing = self._special = True
            self.transport.close()

    # The rest is this connection's own business.

    def _hold(self, head: RequestHead, body: bytes | None) -> int:
        """Count a request in; 0: its turn has not come, and it is parked. Stop reading where enough is in hand."""
        held_bytes = _REQUEST_BYTES + head.size_bytes + (len(body) if body is not None else 0)
        self.account.arriving(self._reader.held_bytes if self._reader is not None else 0)
        self.account.hold(held_bytes)
        full = len(self.exchanges) >= self._limits.max_pipelined
        waits = full or self._flow.write_paused or bool(self._parked)
        if waits:
            self._parked.append((head, body, held_bytes))
        if waits or (self.exchanges and self.account.held_bytes > _AHEAD_BYTES):
            self._pause_reading()
        return 0 if waits else held_bytes

    def _read(self, data: bytes) -> None:
        reader = self._reader
        if self._closing:
            self._flow.discard(data)
            return
        if reader is None:
            reader = self._reader = RequestReader(self, self._limits, self.port.model, self.port.admit(self))
        was_idle = reader.phase == IDLE
        reader.feed(data)
        if was_idle and reader.first_head is not None and reader.first_head.reusable:
            self.port.remember(data, reader.first_head)
        reader.first_head = None  # it may be large, and this connection may be idle from now on
        account = self.account
        if reader.phase == IDLE and not account.arriving_bytes:
            return
        account.arriving(reader.held_bytes)
        if self.exchanges:
            if reader.phase != IDLE and (account.held_bytes > _AHEAD_BYTES or not account.fair):
                self._pause_reading()
        elif not account.fair:
            self._stop_reading()
            self.on_refused("OVERLOADED", "Too many large requests are arriving at once; try again in a moment.")
            return
        if reader.phase != self._timed_phase and reader.phase in {HEAD, BODY}:
            # A fixed time for all of it, from its first byte: a client that trickles gains nothing.
            self._rest(monotonic())

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
                    if not self._flow.write_paused:
                        first.reply.go_on()
                    break
            else:
                break
            exchanges.popleft()
            self.account.hold(-first.held_bytes)
        if self._flow.write_paused:
            self._flow.count_unread()
            self.port.clients.relieve()
        elif self._parked:
            self._unpark()
        if exchanges or self._parked:
            self._resume_reading()
            return
        if not self._closing:
            if self._owes_continue:
                self._owes_continue = False
                self.transport.write(answers.CONTINUE)
            self._resume_reading()
            self._rest(now_s)
        elif self._lingering and not self.transport.is_closing():
            # A client that is still sending is to read the last answer first.
            self.deadline_s = now_s + LINGER_S
            self._flow.end_writing()
        else:
            self.transport.close()

    def _rest(self, now_s: float) -> None:
        """Set the time for what is awaited next, when no answer is."""
        if self.exchanges or self._closing or self._flow.write_paused:
            return
        self._special = bool(self._parked or self._flow.read_paused or self._owes_continue)
        phase = self._timed_phase = self._reader.phase if self._reader is not None else IDLE
        limits = self._limits
        if phase == IDLE:
            self.deadline_s = now_s + limits.keep_alive_s
            if self.writer.draining:
                self.close_when_done()
        else:
            self.deadline_s = now_s + (limits.header_timeout_s if phase == HEAD else limits.body_timeout_s)

    def _unpark(self) -> None:
        parked, self._parked = self._parked, deque()
        while parked:
            head, body, held_bytes = parked.popleft()
            self.account.hold(-held_bytes)
            self.on_request(head, body)
            if self._parked:
                self._parked.extend(parked)
                return
        self._resume_reading()

    def _write_patience_s(self) -> float:
        """How long the client may take nothing of what is written for it."""
        limits = self._limits
        return limits.body_timeout_s if self._stream() is None else limits.stream_idle_s

    def _stream(self) -> Reply | None:
        """The stream that is being written."""
        return self.exchanges[0].reply if self.exchanges else None

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.phase = STOPPED
            self._reader.drop_body()
            self.account.arriving(0)
        self._closing = self._special = True

    def _pause_reading(self) -> None:
        self._special = True
        self._flow.pause_reading()

    def _resume_reading(self) -> None:
        if not self._parked and (not self.exchanges or self.account.held_bytes <= _AHEAD_BYTES):
            self._flow.resume_reading()
