"""One request and its answer, between the connection it came on and the pool that works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.core.serving.batching import NEVER_S, Work
from headrace.gateway import answers
from headrace_worker.wire import FLAG_MODEL_ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.serving.admission import Charge
    from headrace.gateway.connection import Connection
    from headrace.gateway.flights import Flight
    from headrace.gateway.heads import RequestHead
    from headrace.gateway.pool import Pool
    from headrace.gateway.streams import StreamReply
    from headrace_worker.wire import Answer


class Job(Work):
    """What a pool gives to its workers: a client's request, or a flight that several clients wait for.

    `counted`: its answer is a client's, and counts as one.
    """

    __slots__ = ()

    counted: ClassVar[bool] = True

    def asked_by(self) -> Sequence[Job]:
        """Those who are answered when it is, each to be counted."""
        return (self,)

    def answer(self, answer: Answer, pool: Pool, now_s: float) -> None:
        """A worker of `pool` has answered."""
        raise NotImplementedError

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        """There is no answer: an error of the gateway's own instead."""
        raise NotImplementedError

    def move(self, pool: Pool) -> None:
        """`pool` works on it from now on."""
        raise NotImplementedError

    def outlives_pool(self) -> bool:
        """Its pool is gone before a worker was asked: whether another version may answer; if not, it ends here."""
        return True


class Exchange(Job):
    """A client's request in the hands of the gateway: the only object that is made for each.

    `connection` is None once the client is gone. `output` is the rendered answer while earlier ones of the same
    connection are still awaited. `pool` is who works on it, `flight` what it waits for together with others,
    `reply` its answer if that is a stream, `charge` what it counts for against its client's share, `held_bytes` its
    part of its connection's account.
    """

    __slots__ = ("charge", "connection", "flight", "held_bytes", "output", "pool", "reply", "request")

    def __init__(self, connection: Connection, request: RequestHead, body: bytes, now_s: float) -> None:
        # Not super().__init__: a second call is a tenth of the budget of this object.
        self.connection: Connection | None = connection
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
        self.pool: Pool | None = None
        self.flight: Flight | None = None
        self.reply: StreamReply | None = None
        self.charge: Charge | None = None
        self.held_bytes = 0

    def __repr__(self) -> str:
        return f"<Exchange {self.request.target} state={self.state} client={'here' if self.connection else 'gone'}>"

    @property
    def is_awaited(self) -> bool:
        """Whether its answer, or the rest of it, is still to come."""
        reply = self.reply
        return self.output is None and (reply is None or not (reply.ended or reply.broken))

    def request_id(self, connection: Connection) -> bytes:
        """The id that the answer carries: the client's own, or one made now."""
        return self.request.request_id or connection.gateway.new_request_id()

    def answer(self, answer: Answer, pool: Pool, now_s: float, cached: bytes = b"") -> None:
        """A worker of `pool` has answered, now or earlier: `cached` is what the cache did for it."""
        if self.charge is not None:
            self.charge.release()
        connection = self.connection
        if connection is None:
            return
        status, content_type, body, _, flags = answer
        prefix = pool.answer_prefixes.get((status, content_type, cached))
        if prefix is None:
            prefix = pool.make_prefix(status, content_type, cached)
        gateway = connection.gateway
        request = self.request
        request_id = request.request_id
        if request_id is None:
            request_id = gateway.new_request_id()
        if flags and pool.strict and status >= 400:
            body = answers.with_request_id(body, request_id, flags)
        if gateway.recording is not None:
            gateway.recording.answered(self, pool, answer, request_id, now_s, cached)
        if status >= 500 or flags & FLAG_MODEL_ERROR:
            pool.model_failed(answer, request_id)
        option = gateway.close_line if request.reusable else self.connection_option(connection)
        connection.complete(
            self, b"%b%d\r\n%bx-request-id: %b\r\n\r\n%b" % (prefix, len(body), option, request_id, body), now_s
        )

    def connection_option(self, connection: Connection) -> bytes:
        """The connection header that the answer needs, or nothing."""
        if not self.request.keep_alive or connection.gateway.draining:
            return answers.CLOSE
        return answers.KEEP_ALIVE if self.request.http10 else b""

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        """The gateway answers with an error of its own."""
        if self.charge is not None:
            self.charge.release()
        connection = self.connection
        if connection is None:
            return
        request_id = self.request_id(connection)
        strict = connection.gateway.is_strict(self.request.target.model)
        body = answers.error_body(code, message, request_id if strict else None)
        extra = b"retry-after: %d\r\n" % retry_after_s if retry_after_s else b""
        self._render(connection, answers.http_status(code), answers.JSON, body, request_id, extra, now_s, code)

    def reply_with(
        self, status: int, body: bytes, now_s: float, *, content_type: bytes | None = answers.JSON, extra: bytes = b""
    ) -> None:
        """The gateway answers by itself. `extra` is complete header lines."""
        connection = self.connection
        if connection is not None:
            self._render(connection, status, content_type, body, self.request_id(connection), extra, now_s)

    def move(self, pool: Pool) -> None:
        """`pool` works on it from now on."""
        self.pool = pool

    def _render(
        self,
        connection: Connection,
        status: int,
        content_type: bytes | None,
        body: bytes,
        request_id: bytes,
        extra: bytes,
        now_s: float,
        code: str = "",
    ) -> None:
        recording = connection.gateway.recording
        if recording is not None:
            recording.replied(self, status, len(body), code, request_id, now_s)
        output = answers.render(
            status,
            content_type,
            body,
            date=connection.gateway.date_line,
            request_id=request_id,
            extra=extra + self.connection_option(connection),
            head_only=self.request.head_only,
        )
        connection.complete(self, output, now_s)
