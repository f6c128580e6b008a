"""Makes the answers of one call: messages, and the fields that begin and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.gateway.grpc import status as statuses
from headrace.gateway.grpc.headers import literal
from headrace.gateway.grpc.methods import UNKNOWN, Request, Result
from headrace.gateway.http import answers
from headrace.gateway.http.targets import Target, Want
from headrace_worker import wire

if TYPE_CHECKING:
    from headrace.gateway.grpc.methods import Method
    from headrace.gateway.http.heads import RequestHead
    from headrace.gateway.http.writer import ResponseWriter

NOBODY = Request(Target(Want.SERVER, None, b"", wire.V2))
"""What is asked before it is known what is asked."""


class AnswerWriter:
    """An `exchange.Writer`: what it returns is a message, or the body of an error; `failure` tells which.

    `request` is what is answered. `ids` has the ids of requests.
    """

    __slots__ = ("_extra", "_head", "_ids", "_method", "_status", "request")

    def __init__(self, method: Method, ids: ResponseWriter) -> None:
        self.request = NOBODY
        self._method = method
        self._ids = ids
        self._head: bytes | None = statuses.ANSWER
        self._status = statuses.OK
        self._extra = b""

    def take_head(self) -> bytes | None:
        """The fields that begin the answer; None where they are out."""
        head, self._head = self._head, None
        return head

    def failure(self, output: bytes) -> bytes | None:
        """The fields that end the call with an error, if what was returned last is the body of one."""
        if self._status == statuses.OK:
            return None
        return statuses.trailer(self._status, statuses.told(output), self._extra)

    def new_request_id(self) -> bytes:
        """An id for a request whose client has not given one."""
        return self._ids.new_request_id()

    def error_body(self, request: RequestHead, request_id: bytes, code: str, message: str) -> bytes:  # noqa: ARG002
        """The body of an error of the gateway's own."""
        return answers.protocol_error(wire.V2, code, message)

    def answer(
        self,
        request: RequestHead,  # noqa: ARG002 - HTTP's writer needs it
        request_id: bytes,
        label: bytes,
        status: int,
        content_type: bytes,
        cached: bytes,
        body: bytes,
    ) -> bytes:
        """The answer of the version that `label` names; `cached` is what the cache did for it."""
        self._begin(request_id, label, cached)
        return self.tell(Result(status, body, int(wire.split_type(content_type)[1] or 0)))

    def own(
        self,
        request: RequestHead,
        request_id: bytes,
        status: int,
        content_type: bytes | None,  # noqa: ARG002 - HTTP's writer needs it
        body: bytes,
        extra: bytes = b"",
    ) -> bytes:
        """An answer of the gateway's own. `extra` is complete header lines."""
        self._begin(request_id)
        self._extra = extra
        if request.problem:
            self._status = statuses.code(status)
            return body
        return self.tell(Result(status, body))

    def stream_head(
        self,
        request: RequestHead,  # noqa: ARG002 - HTTP's writer needs it
        request_id: bytes,
        label: bytes,
        status: int,  # noqa: ARG002 - HTTP's writer needs it
        content_type: bytes,  # noqa: ARG002 - HTTP's writer needs it
    ) -> bytes:
        """What comes before the pieces of a streamed answer."""
        self._begin(request_id, label)
        return b""

    def tell(self, result: Result) -> bytes:
        """The message for a result, or the body of an error that ends the call."""
        made = self._method.tell(result, self.request)
        if made is not None:
            self._status = statuses.OK
            return framed(made)
        self._status = statuses.UNIMPLEMENTED if self._method is UNKNOWN else statuses.code(result.status)
        return result.body

    def _begin(self, request_id: bytes, label: bytes = b"", cached: bytes = b"") -> None:
        """Say in the answer's head whose answer it is, if that is not out."""
        if self._head is None:
            return
        told = literal(b"x-request-id", request_id)
        if label:
            told += literal(b"headrace-model", label)
        if cached:
            told += literal(b"headrace-cache", cached)
        self._head = statuses.ANSWER + told


def framed(message: bytes) -> bytes:
    """A message as it is sent: not compressed, with its length before it."""
    return b"\0%b%b" % (len(message).to_bytes(4), message)
