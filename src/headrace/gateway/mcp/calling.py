"""A call of a tool as a request to its model, whose answer goes back in the protocol's words.

The request's client is a `Caller`: the connection that the call came on, but for what it writes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from headrace.gateway.exchange import Exchange
from headrace.gateway.http import answers
from headrace.gateway.http.targets import Target, Want
from headrace.gateway.mcp import replies
from headrace_worker import wire

if TYPE_CHECKING:
    from headrace.gateway.exchange import Client, ClientPort, Line, RequestLog, Writer
    from headrace.gateway.http.heads import RequestHead
    from headrace.gateway.mcp.requests import Message


def request(exchange: Exchange, message: Message, model: str, speaks: str, arguments: bytes, now_s: float) -> Exchange:
    """The request that takes the place of `exchange`. `speaks`: the kind of OpenAI's dialect that its arguments are.

    Empty: they are the body of a request to ``/invocations``.
    """
    connection = exchange.connection
    if connection is None:
        raise RuntimeError("a request that has just come has a client")
    head = exchange.request.asking(Target(Want.INVOKE, model), _wire_head(model, speaks), stream=False)
    made = Exchange(Caller(connection, message), head, arguments, now_s)
    connection.swap(exchange, made)
    return made


@lru_cache(maxsize=1024)
def _wire_head(model: str, speaks: str) -> bytes:
    """What the worker is told: what it is told of others that ask the same, so that they share frames."""
    head = wire.head(answers.JSON, b"", b"")
    return wire.spoken_head(wire.Spoken(f"{wire.OPENAI}/{speaks}", model), head) if speaks else head


class Caller:
    """See the module's docstring."""

    __slots__ = ("_connection", "writer")

    def __init__(self, connection: Client, message: Message) -> None:
        self._connection = connection
        self.writer: Writer = _Writer(connection.writer, message)

    @property
    def transport(self) -> Line:
        """What its answers are written to."""
        return self._connection.transport

    @property
    def recording(self) -> RequestLog | None:
        """Where its requests are recorded."""
        return self._connection.recording

    @property
    def port(self) -> ClientPort:
        """The port that has accepted it."""
        return self._connection.port

    def peer(self) -> bytes:
        """The address of the client, without its port."""
        return self._connection.peer()

    def complete(self, exchange: Exchange, output: bytes, now_s: float) -> None:
        """Take the whole answer."""
        self._connection.complete(exchange, output, now_s)

    def write_part(self, exchange: Exchange, data: bytes) -> bool:
        """Write a piece of a streamed answer; none is asked for here."""
        return self._connection.write_part(exchange, data)

    def end_stream(self, exchange: Exchange, tail: bytes, now_s: float, *, last: bool) -> None:
        """The streamed answer is whole."""
        self._connection.end_stream(exchange, tail, now_s, last=last)

    def swap(self, exchange: Exchange, other: Exchange) -> None:
        """`other` takes the place of the request that came last."""
        self._connection.swap(exchange, other)


class _Writer:
    """Puts what a model is answered with into the protocol's words. A failure is a result, which the agent reads."""

    __slots__ = ("_inner", "_message")

    def __init__(self, inner: Writer, message: Message) -> None:
        self._inner = inner
        self._message = message

    def new_request_id(self) -> bytes:
        return self._inner.new_request_id()

    def answer(
        self,
        request: RequestHead,
        request_id: bytes,
        label: bytes,
        status: int,
        content_type: bytes,  # noqa: ARG002 - what the model says is in another envelope
        cached: bytes,
        body: bytes,
    ) -> bytes:
        told = replies.called(self._message, body) if status < 400 else replies.failed(self._message, body)
        return self._inner.answer(request, request_id, label, 200, answers.JSON, cached, told)

    def stream_head(
        self, request: RequestHead, request_id: bytes, label: bytes, status: int, content_type: bytes
    ) -> bytes:
        return self._inner.stream_head(request, request_id, label, status, content_type)

    def error_body(self, request: RequestHead, request_id: bytes, code: str, message: str) -> bytes:
        return self._inner.error_body(request, request_id, code, message)

    def own(
        self,
        request: RequestHead,
        request_id: bytes,
        status: int,
        content_type: bytes | None,
        body: bytes,
        extra: bytes = b"",
    ) -> bytes:
        if status >= 400:
            status, content_type, body = 200, answers.JSON, replies.failed(self._message, body)
        return self._inner.own(request, request_id, status, content_type, body, extra)
