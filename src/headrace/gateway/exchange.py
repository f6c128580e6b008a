"""One request and its answer, between its connection and the pool that works on it.

The protocols say what either side is to a request: neither side's module is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from headrace.core.serving.batching import NEVER_S, Work
from headrace.gateway.http import answers
from headrace_worker.wire import FLAG_MODEL_ERROR, NO_TIMING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.serving.admission import Charge
    from headrace.gateway.http.heads import RequestHead
    from headrace.gateway.tracing import Place
    from headrace.gateway.version import ServedVersion
    from headrace_worker.wire import Answer, Timing


class ClientPort(Protocol):
    """`model` is whose own port this is, None on the shared one; `scheme` that of the URL which leads here."""

    @property
    def model(self) -> str | None:
        """See the class's docstring."""

    @property
    def scheme(self) -> bytes:
        """See the class's docstring."""

    def count_forbidden(self) -> None:
        """Count a request that its client is not allowed to send."""


class Writer(Protocol):
    """Makes the bytes of answers, as their client understands them."""

    def new_request_id(self) -> bytes:
        """An id for a request whose client has not given one."""

    def answer(
        self,
        request: RequestHead,
        request_id: bytes,
        label: bytes,
        status: int,
        content_type: bytes,
        cached: bytes,
        body: bytes,
    ) -> bytes:
        """The answer of the version that `label` names; `cached` is what the cache did for it."""

    def stream_head(
        self, request: RequestHead, request_id: bytes, label: bytes, status: int, content_type: bytes
    ) -> bytes:
        """The head of a streamed answer."""

    def error_body(self, request: RequestHead, request_id: bytes, code: str, message: str) -> bytes:
        """The body of an error of the gateway's own."""

    def own(
        self,
        request: RequestHead,
        request_id: bytes,
        status: int,
        content_type: bytes | None,
        body: bytes,
        extra: bytes = b"",
    ) -> bytes:
        """An answer of the gateway's own. `extra` is complete header lines."""


class Line(Protocol):
    """What an answer is written to."""

    def abort(self) -> None:
        """The answer cannot be finished."""


class Client(Protocol):
    """The connection or gRPC call that a request came on."""

    @property
    def transport(self) -> Line:
        """What its answers are written to."""

    @property
    def writer(self) -> Writer:
        """The writer that makes the bytes of its answers."""

    @property
    def recording(self) -> RequestLog | None:
        """Where its requests are recorded."""

    @property
    def port(self) -> ClientPort:
        """The port that has accepted it."""

    def peer(self) -> bytes:
        """The address of the client, without its port."""

    def complete(self, exchange: Exchange, output: bytes, now_s: float) -> None:
        """Take the whole answer; it is written when all before it are."""

    def write_part(self, exchange: Exchange, data: bytes) -> bool:
        """Write a piece of a streamed answer, or hold it until its turn; False: no more until `Reply.go_on`."""

    def end_stream(self, exchange: Exchange, tail: bytes, now_s: float, *, last: bool) -> None:
        """The streamed answer is whole; `last`: its end is the connection's end."""

    def swap(self, exchange: Exchange, other: Exchange) -> None:
        """`other` takes the place of the request that came last."""


class Owner(Protocol):
    """The pool that works on a request."""

    version: ServedVersion

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for its workers."""

    def give_up(self, exchange: Exchange) -> None:
        """The client is gone."""


class Reply(Protocol):
    """An answer that comes in pieces. `held` waits for its turn; `ended`: all has come; `broken`: no more will."""

    held: list[bytes]
    ended: bool
    broken: bool

    def go_on(self) -> None:
        """The client's connection takes more."""

    def starved(self) -> None:
        """The client has taken nothing for too long; the caller ends its connection."""


class RequestLog(Protocol):
    """Gets every request that is over."""

    def answered(
        self, exchange: Exchange, answer: Answer, source: Source, request_id: bytes, now_s: float, cached: bytes
    ) -> None:
        """A worker's answer, or a kept one, has been given to the client."""

    def replied(
        self, exchange: Exchange, status: int, size_bytes: int, code: str, request_id: bytes, now_s: float
    ) -> None:
        """The gateway has answered by itself; `code` is the error's, if it is one."""

    def streamed(
        self, exchange: Exchange, status: int, size_bytes: int, code: str, request_id: bytes, now_s: float
    ) -> None:
        """A stream has ended; `code` is that of its last event, if that is an error of the gateway's."""

    def left(self, exchange: Exchange, now_s: float) -> None:
        """The client has left before its answer came."""


class SpanLog(Protocol):
    """Gets the spans of models, if they are collected."""

    def contexts(self, works: Sequence[Job]) -> list[bytes]:
        """What a worker is told of the traced requests among these; empty where there are none."""

    def spans(self, contexts: list[bytes], told: bytes) -> None:
        """A worker has told what was traced while it worked on these."""


class Source:
    """Where an answer comes from: the version, and the frame of so many requests, if it was not kept from earlier."""

    __slots__ = ("frame_number", "frame_requests", "timing", "version")

    def __init__(
        self, version: ServedVersion, frame_number: int = 0, frame_requests: int = 0, timing: Timing = NO_TIMING
    ) -> None:
        self.version = version
        self.frame_number = frame_number
        self.frame_requests = frame_requests
        self.timing = timing


class Job(Work):
    """What a pool gives to its workers: a client's request, or a flight that several clients wait for.

    `counted`: its answer is a client's, and counts as one.
    """

    __slots__ = ()

    counted: ClassVar[bool] = True

    def asked_by(self) -> Sequence[Job]:
        """The requests that are answered by it, each of which counts."""
        return (self,)

    def answer(self, answer: Answer, source: Source, now_s: float) -> None:
        """A worker has answered."""
        raise NotImplementedError

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        """Answer with an error of the gateway's own."""
        raise NotImplementedError

    def fail_for(
        self, version: ServedVersion, code: str, message: str, now_s: float, *, retry_after_s: int = 0
    ) -> None:
        """Answer everybody who waits for it with an error of the gateway's own, counted as an answer of `version`."""
        status = answers.http_status(code)
        for asked in self.asked_by():
            version.count_answer(status, now_s - asked.arrived_s)
        self.fail(code, message, now_s, retry_after_s=retry_after_s)

    def move(self, owner: Owner) -> None:
        """`owner` works on it from now on."""
        raise NotImplementedError

    def outlives_pool(self) -> bool:
        """Whether another version may answer, because its pool was removed before a worker was asked; else end it."""
        return True


class Exchange(Job):
    """A client's request in the hands of the gateway: the only object that is made for each.

    `connection` is None once the client is gone. `output` is the rendered answer while earlier ones of the same
    connection are still awaited. `pool` is who works on it, `flight` what it waits for together with others,
    `reply` its answer if that is a stream, `place` where it stands in a trace once that is decided, `charge` what it
    counts for against its client's share, `held_bytes` its part of its connection's account.
    """

    __slots__ = ("charge", "connection", "flight", "held_bytes", "output", "place", "pool", "reply", "request")

    def __init__(self, connection: Client, request: RequestHead, body: bytes, now_s: float) -> None:
        # Not super().__init__: a second call is a tenth of the budget of this object.
        self.connection: Client | None = connection
        self.request = request
        self.head = request.wire_head
        self.body = body
        self.size_bytes = len(body)
        self.rows = 1
        self.arrived_s = now_s
        self.sent_s = now_s
        self.deadline_s = NEVER_S
        self.solo = self.stream = False
        self.losses = 0
        self.state = 0
        self.output: bytes | None = None
        self.pool: Owner | None = None
        self.flight: Job | None = None
        self.reply: Reply | None = None
        self.place: Place | None = None
        self.charge: Charge | None = None
        self.held_bytes = 0

    def __repr__(self) -> str:
        return f"<Exchange {self.request.target} state={self.state} client={'here' if self.connection else 'gone'}>"

    @property
    def is_awaited(self) -> bool:
        """Whether its answer, or the rest of it, is still to come."""
        reply = self.reply
        return self.output is None and (reply is None or not (reply.ended or reply.broken))

    def request_id(self, connection: Client) -> bytes:
        """The id that the answer carries: the client's own, or one made now."""
        return self.request.request_id or connection.writer.new_request_id()

    def answer(self, answer: Answer, source: Source, now_s: float, cached: bytes = b"") -> None:
        """A worker has answered, now or earlier: `cached` is what the cache did for it."""
        if self.charge is not None:
            self.charge.release(answer.rows)
        connection = self.connection
        if connection is None:
            return
        status, content_type, body, _, flags = answer
        request = self.request
        version = source.version
        writer = connection.writer
        request_id = request.request_id
        if request_id is None:
            request_id = writer.new_request_id()
        if flags and version.strict and status >= 400:
            body = answers.with_request_id(body, request_id, flags)
        if connection.recording is not None:
            connection.recording.answered(self, answer, source, request_id, now_s, cached)
        if status >= 500 or flags & FLAG_MODEL_ERROR:
            version.failures.add(answer, request_id)
        connection.complete(
            self, writer.answer(request, request_id, version.label, status, content_type, cached, body), now_s
        )

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0, extra: bytes = b"") -> None:
        """The gateway answers with an error of its own. `extra` is complete header lines."""
        if self.charge is not None:
            self.charge.release()
        connection = self.connection
        if connection is None:
            return
        request_id = self.request_id(connection)
        body = connection.writer.error_body(self.request, request_id, code, message)
        extra += b"retry-after: %d\r\n" % retry_after_s if retry_after_s else b""
        extra += answers.CHALLENGE if code == "UNAUTHENTICATED" else b""
        self._complete(connection, answers.http_status(code), answers.JSON, body, request_id, extra, now_s, code)

    def reply_with(
        self, status: int, body: bytes, now_s: float, *, content_type: bytes | None = answers.JSON, extra: bytes = b""
    ) -> None:
        """The gateway answers by itself. `extra` is complete header lines."""
        connection = self.connection
        if connection is not None:
            self._complete(connection, status, content_type, body, self.request_id(connection), extra, now_s)

    def move(self, owner: Owner) -> None:
        """`owner` works on it from now on."""
        self.pool = owner

    def _complete(
        self,
        connection: Client,
        status: int,
        content_type: bytes | None,
        body: bytes,
        request_id: bytes,
        extra: bytes,
        now_s: float,
        code: str = "",
    ) -> None:
        if connection.recording is not None:
            connection.recording.replied(self, status, len(body), code, request_id, now_s)
        output = connection.writer.own(self.request, request_id, status, content_type, body, extra)
        connection.complete(self, output, now_s)
