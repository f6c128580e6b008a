"""Answers as bytes on one gateway's connections: the one owner of what many of them have in common.

That is the date, the beginning of a head up to the length, the line that ends a connection, and the ids of requests
that have none.
"""

from __future__ import annotations

import os
from itertools import count
from time import struct_time
from typing import TYPE_CHECKING

from headrace.core.escaping import header_bytes
from headrace.gateway.http import answers
from headrace_worker import wire

if TYPE_CHECKING:
    from headrace.gateway.http.heads import RequestHead


class ResponseWriter:
    """See the module's docstring. `draining`: every answer ends its connection.

    `strict_models`: those whose errors carry the request's id.
    """

    __slots__ = ("_close_line", "_date_line", "_id_prefix", "_ids", "_prefixes", "draining", "strict_models")

    def __init__(self) -> None:
        self.draining = False
        self.strict_models: set[str] = set()
        self._close_line = b""
        self._date_line = b""
        self._prefixes: dict[tuple[bytes, int, bytes, bytes], bytes] = {}
        self._id_prefix = os.urandom(5).hex().encode("ascii")
        self._ids = count(1)

    def set_date(self, moment: struct_time) -> None:
        """It is `moment`, in UTC."""
        date_line = b"date: %b\r\n" % answers.http_date(moment)
        if date_line != self._date_line:
            self._date_line = date_line
            self._prefixes.clear()

    def begin_drain(self) -> None:
        """From now on every answer ends its connection."""
        self.draining = True
        self._close_line = answers.CLOSE

    def new_request_id(self) -> bytes:
        """An id for a request whose client has not given one; unique among all gateways with near certainty."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

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
        prefix = self._prefixes.get((label, status, content_type, cached))
        if prefix is None:
            prefix = self._prefix(label, status, content_type, cached)
        option = self._close_line if request.reusable else self._option(request)
        return b"%b%d\r\n%bx-request-id: %b\r\n\r\n%b" % (prefix, len(body), option, request_id, body)

    def stream_head(
        self, request: RequestHead, request_id: bytes, label: bytes, status: int, content_type: bytes
    ) -> bytes:
        """The head of an answer whose body comes in pieces: in chunks, or for HTTP/1.0 until the connection ends."""
        framing = answers.CLOSE if request.http10 else b"transfer-encoding: chunked\r\n" + self._option(request)
        head = self._head(label, status, content_type)
        return b"%b%bx-request-id: %b\r\n\r\n" % (head, framing, request_id)

    def error_body(self, request: RequestHead, request_id: bytes, code: str, message: str) -> bytes:
        """The body of an error of the gateway's own, in the form of the protocol that the request speaks."""
        if request.target.protocol:
            return answers.protocol_error(request.target.protocol, code, message)
        is_strict = request.target.model in self.strict_models
        return answers.error_body(code, message, request_id if is_strict else None)

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
        return answers.render(
            status,
            content_type,
            body,
            date=self._date_line,
            request_id=request_id,
            extra=extra + self._option(request),
            head_only=request.head_only,
        )

    def _option(self, request: RequestHead) -> bytes:
        """The connection header that the answer needs, if any, and what browsers are told."""
        if not request.keep_alive or self.draining:
            return answers.CLOSE + request.cors
        return answers.KEEP_ALIVE + request.cors if request.http10 else request.cors

    def _prefix(self, label: bytes, status: int, content_type: bytes, cached: bytes) -> bytes:
        """The part of an answer up to the value of Content-Length; kept until the date changes."""
        how = b"headrace-cache: %b\r\n" % cached if cached else b""
        prefix = self._head(label, status, content_type) + how + b"content-length: "
        self._prefixes[label, status, content_type, cached] = prefix
        return prefix

    def _head(self, label: bytes, status: int, content_type: bytes) -> bytes:
        """The part of an answer's head that is the same for all such answers."""
        told, json_bytes = wire.split_type(content_type)
        return b"%b%bcontent-type: %b\r\n%bheadrace-model: %b\r\n" % (
            answers.status_line(status),
            self._date_line,
            header_bytes(told),
            b"inference-header-content-length: %b\r\n" % header_bytes(json_bytes) if json_bytes else b"",
            label,
        )
