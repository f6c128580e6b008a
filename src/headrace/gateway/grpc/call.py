"""One call: messages in, messages out, and how it ended.

A call is the client of the exchange that answers its message (`exchange.Client`). The messages of a streaming call are
answered one after another; while one is, no more is taken than the client's window allows.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from headrace.core.serving.batching import NEVER_S
from headrace.gateway.exchange import Exchange
from headrace.gateway.grpc import requests, schema, status
from headrace.gateway.grpc.answering import NOBODY, AnswerWriter, framed
from headrace.gateway.grpc.events import Events, TooLong
from headrace.gateway.grpc.inbox import Inbox, TooLarge
from headrace.gateway.grpc.methods import Result

if TYPE_CHECKING:
    from headrace.gateway.exchange import RequestLog
    from headrace.gateway.grpc.connection import GrpcConnection
    from headrace.gateway.grpc.headers import Fields
    from headrace.gateway.grpc.methods import Method
    from headrace.gateway.http.port import Port


class Call:
    """See the module's docstring. `number` is its stream's, `fields` are those of its head.

    `window` is what the client takes of answers now, `pending` what it does not take yet; `tail` ends the call once
    that is out. `credit` is what the client may send, `taken` what it has sent and may send again later. `due_s` is
    when the call is ended unless something happens. `ended`: the client sends no more. `done`: nothing is sent to it.
    """

    __slots__ = (
        "_advancing",
        "_connection",
        "_events",
        "_held_bytes",
        "_idle",
        "_in_work_bytes",
        "_inbox",
        "_method",
        "_most_bytes",
        "_outbox",
        "_started_s",
        "_timeout_s",
        "_vetted",
        "credit",
        "done",
        "due_s",
        "ended",
        "exchange",
        "fields",
        "number",
        "pending",
        "tail",
        "taken",
        "window",
        "writer",
    )

    def __init__(
        self,
        connection: GrpcConnection,
        number: int,
        fields: Fields,
        method: Method,
        *,
        window: int,
        credit: int,
    ) -> None:
        self._connection = connection
        self._method = method
        self.number = number
        self.fields = fields
        self.window = window
        self.credit = credit
        self.taken = 0
        self.exchange: Exchange | None = None
        self.pending = bytearray()
        self.tail: bytes | None = None
        self.done = self.ended = False
        self._events: Events | None = None
        self.writer = AnswerWriter(method, connection.writer)
        self._held_bytes = self._in_work_bytes = 0
        limits = connection.port.state.limits
        self._most_bytes = limits.max_body_bytes
        self._inbox = Inbox(self._most_bytes, fields.get(b"grpc-encoding", b"identity"))
        self._outbox = connection.outbox
        self._started_s = monotonic()
        self._timeout_s = requests.timeout_s(fields) if b"grpc-timeout" in fields else None
        self.due_s = self._started_s + limits.body_timeout_s
        self._vetted = self._advancing = False
        self._idle: bool | None = False

    def __repr__(self) -> str:
        return f"<Call {self.number} {self.fields.get(b':path')!r} ended={self.ended} done={self.done}>"

    # What the connection reports.

    def received(self, data: bytes, *, ended: bool) -> None:
        """The client has sent a piece; `ended`: it was the last."""
        self.ended = ended
        if ended and not self._method.streaming:
            try:
                message = self._inbox.whole(data)
            except (schema.Malformed, TooLarge) as error:
                self.refuse("BAD_REQUEST", str(error))
                return
            if message is not None:
                self._take(message)
                return
        self._inbox.add(data)
        self._count()
        if not self._connection.account.fair:
            self.refuse("OVERLOADED", "Too many large requests are arriving at once; try again in a moment.")
        elif not ended and not self._vetted:
            self._vet()
        self.advance()

    def advance(self) -> None:
        """Take what messages can be taken now."""
        if self._advancing:
            return
        self._advancing = True
        while not self.done and self.exchange is None and not self.pending and self._next():
            pass
        self._advancing = False

    def leave(self) -> None:
        """The client does not want the rest, or is gone."""
        exchange = self._part()
        if exchange is not None and exchange.pool is not None and exchange.is_awaited:
            exchange.pool.give_up(exchange)
        self.close()

    def close(self) -> None:
        """Hold nothing any more."""
        self.done = True
        self._inbox.clear()
        self.pending.clear()
        self._in_work_bytes = 0
        self._events = None
        self._count()

    def flushed(self) -> None:
        """The client has taken what was pending, or some of it."""
        self._count()
        if self.pending:
            return
        self.due_s = NEVER_S
        if self.exchange is not None and self.exchange.reply is not None:
            self.exchange.reply.go_on()
        self.advance()

    def expire(self) -> None:
        """`due_s` has passed."""
        if self.pending:
            if self.exchange is not None and self.exchange.reply is not None:
                self.exchange.reply.starved()
            self._connection.reset(self)
        else:
            self.refuse("REQUEST_TIMEOUT", "The request did not arrive in time.")

    def refuse(self, code: str, message: str) -> None:
        """End the call with an error, before or after it is understood."""
        if self.done or self.exchange is not None:
            return
        head = requests.refused(self.fields, self._method.want, code, message)
        now_s = monotonic()
        exchange = self.exchange = Exchange(self, head, b"", now_s)
        self._connection.port.application.answer(exchange, now_s)

    # What an exchange wants of its client.

    @property
    def port(self) -> Port:
        """The port that has accepted it."""
        return self._connection.port

    @property
    def transport(self) -> Call:
        """What its answers are written to."""
        return self

    @property
    def recording(self) -> RequestLog | None:
        """Where its requests are recorded."""
        return self._connection.recording

    def peer(self) -> bytes:
        """The address of the client, without its port."""
        return self._connection.peer()

    def swap(self, exchange: Exchange, other: Exchange) -> None:  # noqa: ARG002 - it has only one
        """`other` takes the place of the request that came last."""
        self.exchange = other

    def complete(self, exchange: Exchange, output: bytes, now_s: float) -> None:  # noqa: ARG002 - the client's
        """Take the whole answer."""
        self.exchange = None
        self._in_work_bytes = 0
        if (failure := self.writer.failure(output)) is not None:
            self._outbox.write(self, b"", failure)
        elif self._method.streaming:
            self._answered(output)
        else:
            self._outbox.write(self, output, status.WELL)

    def write_part(self, exchange: Exchange, data: bytes) -> bool:  # noqa: ARG002 - the client's
        """Write a piece of a streamed answer; False: no more until `Reply.go_on`."""
        if data:
            if self._events is None:
                self._events = Events(self._most_bytes)
            try:
                for failed, text in self._events.feed(data):
                    self._outbox.write(self, self.writer.tell(Result(500 if failed else 200, text)))
            except TooLong:
                self.abort()
            self._count()
        return not self.pending and not self._connection.write_paused

    def end_stream(self, exchange: Exchange, tail: bytes, now_s: float, *, last: bool) -> None:  # noqa: ARG002
        """The streamed answer is whole."""
        self.exchange = self._events = None
        self._answered(b"")

    def abort(self) -> None:
        """The streamed answer cannot be finished; nobody else is to tell of it."""
        self._part()
        self._outbox.write(self, b"", status.trailer(status.INTERNAL, "The answer broke off."))

    # Inside.

    def _part(self) -> Exchange | None:
        """Give the exchange no more of the client, and record that; returns it, None where there is none."""
        exchange, recording = self.exchange, self.recording
        self.exchange = None
        if exchange is not None:
            if recording is not None:
                recording.left(exchange, monotonic())
            exchange.connection = None
        return exchange

    def _next(self) -> bool:
        """Take a message where there is a whole one; False: there is none."""
        streaming = self._method.streaming
        message = None
        if streaming or self.ended:
            try:
                message = self._inbox.take()
            except TooLarge as error:
                self.refuse("BODY_TOO_LARGE", str(error))
                return False
            except schema.Malformed as error:
                self.refuse("BAD_REQUEST", str(error))
                return False
        elif self._inbox.exceeds():
            self.refuse("BODY_TOO_LARGE", f"The message exceeds {self._most_bytes} bytes.")
            return False
        if message is not None and not streaming and self._inbox.held_bytes:
            self.refuse("BAD_REQUEST", "The method takes one message; there are more.")
        elif message is not None:
            self._take(message)
            return True
        elif not self.ended:
            self._await()
        elif streaming and not self._inbox.held_bytes:
            self._outbox.write(self, b"", status.WELL)
        else:
            self.refuse("BAD_REQUEST", "The call ended before its message was whole.")
        return False

    def _await(self) -> None:
        """Wait for more of a message, or for the next one: a fixed time for each, however much comes of it."""
        self._connection.grant(self)
        idle = self._method.streaming and not self._inbox.held_bytes
        if idle is self._idle:
            return
        self._idle = idle
        limits = self.port.state.limits
        wait_s = limits.max_stream_s if idle else limits.body_timeout_s
        self.due_s = NEVER_S if wait_s is None else monotonic() + wait_s
        self._connection.remind(self.due_s)

    def _take(self, message: bytes) -> None:
        method = self._method
        self._idle = None
        try:
            request = method.read(message)
            told = method.local(message) if method.local is not None else None
        except schema.Malformed as error:
            self.refuse("BAD_REQUEST", str(error))
            return
        now_s = monotonic()
        left_s = self._timeout_s - (now_s - self._started_s) if self._timeout_s is not None else None
        connection = self._connection
        port = connection.port
        head = requests.head_of(
            port, connection, self.fields, request, streaming=method.streaming and told is None, left_s=left_s
        )
        if told is not None and not head.problem:
            self._outbox.write(self, framed(told))
            return
        self.writer.request = request
        self._in_work_bytes = len(request.body)
        self.due_s = NEVER_S
        exchange = self.exchange = Exchange(self, head, request.body, now_s)
        self._count()
        if connection.account.fair:
            port.application.handle(exchange, now_s)
        else:
            port.application.overloaded(exchange, now_s)

    def _vet(self) -> None:
        """Refuse a client without any rights before more of its message is kept."""
        self._vetted = True
        if self._connection.port.guard is not None:
            head = requests.head_of(self._connection.port, self._connection, self.fields, NOBODY)
            if head.problem:
                self.refuse(head.problem_code, head.problem)

    def _answered(self, output: bytes) -> None:
        """A message of a streaming call is answered: the next one follows."""
        if output:
            self._outbox.write(self, output)
        self._in_work_bytes = 0
        self._count()
        self.advance()

    def _count(self) -> None:
        """Have what is held counted."""
        events = self._events.held_bytes if self._events is not None else 0
        held_bytes = self._inbox.held_bytes + len(self.pending) + self._in_work_bytes + events
        if held_bytes != self._held_bytes:
            self._connection.account.hold(held_bytes - self._held_bytes)
            self._held_bytes = held_bytes
