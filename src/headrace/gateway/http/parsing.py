"""From bytes to requests: httptools (llhttp) with what it does not check added, and no I/O.

A `RequestReader` is fed what a client sent, in any pieces, and calls its sink in the order of the stream:
`on_head` once for a request that asked for ``100 Continue``, `on_request` once for each whole request, and at most
once, last, `on_refused`. After that, and after a request that ends the connection, it ignores what it is fed.

Refused beyond what llhttp refuses: HTTP versions other than 1.0 and 1.1, a missing or second Host in HTTP/1.1 and one
that is no host (RFC 9112 3.2), any Transfer-Encoding but ``chunked`` and any at all in HTTP/1.0 (RFC 9112 6.1), heads
and bodies that are too large. ``Upgrade`` is ignored, as RFC 9110 7.8 allows: the request, body and all, is answered as
HTTP/1.1.

The framing of a chunked body (sizes, extensions, trailers) is bounded by `Limits.max_header_bytes`: without payload in
between, and in all beyond as many bytes as the payload has. llhttp tells nothing of extensions, so framing is what was
fed less what came out as payload. That is exact to one read: bytes of a read that also ends or begins a body do not
count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Protocol

import httptools

from headrace.core.protocol.messages import Limits
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.routing import resolve
from headrace.gateway.http.targets import Want
from headrace_worker import wire

IDLE = 0
HEAD = 1
BODY = 2
STOPPED = 3

Admit = Callable[[RequestHead, Mapping[bytes, bytes]], None]
"""Is told a head and its fields (in lower case); makes a problem of it where its sender may not ask."""

_EVENT_STREAM = b"text/event-stream"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) (/[^\s\x00-\x1f\x7f-\xff]*) HTTP/1\.[01]\r\n")
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")  # RFC 9110 7.2, RFC 3986 3.2.2
_NO_HEAD = RequestHead()

_KNOWN = (
    b"Authorization",
    b"Origin",
    b"Sec-Fetch-Site",
    b"Content-Type",
    b"Content-Length",
    b"Content-Encoding",
    b"Accept",
    b"Host",
    b"Expect",
    b"Transfer-Encoding",
    b"Upgrade",
    b"Connection",
    b"Cache-Control",
    b"X-Request-Id",
    b"Request-Timeout-Ms",
    b"Inference-Header-Content-Length",
)
_SPELLINGS: dict[bytes, bytes] = {s: n.lower() for n in _KNOWN for s in (n, n.lower(), n.upper())}
_LOWER = frozenset(n.lower() for n in _KNOWN)
_LENGTHS = frozenset(map(len, _KNOWN))


class Sink(Protocol):
    """Who a `RequestReader` reports to: a connection, or a test's recorder."""

    def on_head(self, head: RequestHead) -> bool:
        """A request waits for ``100 Continue``; False stops the reader, for the sink has refused it."""

    def takes_body(self, head: RequestHead) -> bool:
        """Asked where a body is not there at once: whether it will be used; if not, it is read and thrown away."""

    def on_request(self, head: RequestHead, body: bytes | None) -> None:
        """A request is complete. `body` is None where `takes_body` said that it is not used."""

    def on_refused(self, code: str, message: str, protocol: str = "") -> None:
        """The stream cannot be understood or exceeds a limit: one error answer in that protocol's form, then close."""


class RequestReader:
    """Reads the requests of one connection; see the module's docstring. `admit` is asked about each head.

    `phase` says what is awaited, `held_bytes` how much of an incomplete request is in memory.
    """

    def __init__(self, sink: Sink, limits: Limits, port_model: str | None, admit: Admit | None = None) -> None:
        self._sink = sink
        self._admit = admit
        self._limits = limits
        self._port_model = port_model
        self._watched = frozenset(name.encode() for name in limits.watched_headers)
        self.phase = IDLE
        self.first_head: RequestHead | None = None
        self._head_bytes = 0
        self._fed_bytes = 0
        self._fields: dict[bytes, bytes] = {}
        self._url = b""
        self._hosts = 0
        self._head = _NO_HEAD
        self._headed = False
        self._keeps = True
        self._body: bytes | None = b""
        self._buffer: BytesIO | None = None
        self._body_bytes = self._framing_bytes = self._bare_bytes = self._trailer_bytes = 0
        self._replaying = False
        self._parser = httptools.HttpRequestParser(self)

    @property
    def held_bytes(self) -> int:
        """What is in memory of a request that is not complete."""
        if self.phase == HEAD:
            return max(self._head_bytes, self._fed_bytes)
        if self.phase == BODY:
            return self._head.size_bytes + self._bare_bytes + (self._body_bytes if self._keeps else 0)
        return 0

    def feed(self, data: bytes) -> None:
        """Take more bytes. `first_head` is afterwards the head of the request that these bytes began with, if any."""
        self.first_head = None
        if self.phase != STOPPED:
            rest = self._parse(data)
            while rest and self.phase != STOPPED:
                rest = self._parse(rest)

    def close(self) -> None:
        """Let go of the parser, which refers back to this reader, and of what was read."""
        self.phase = STOPPED
        self.drop_body()
        del self._parser

    def drop_body(self) -> None:
        """Let go of an incomplete body."""
        self._body = b""
        self._buffer = None
        self._body_bytes = self._bare_bytes = 0

    def _parse(self, data: bytes | memoryview) -> bytes | memoryview:
        """Give `data` to the parser. Returns what is to be parsed anew, behind a head that asked for an upgrade."""
        before = self.phase
        body_bytes = self._body_bytes
        self._headed = False
        rest: bytes | memoryview = b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A view: thousands of such requests in one read would copy what follows each of them.
            rest = memoryview(data)[upgrade.args[0] :]
            self._ignore_upgrade()
        except httptools.HttpParserInvalidMethodError as error:
            # Only if it is the very first thing in these bytes do we know where its request line begins.
            line = _REQUEST_LINE.match(data) if before == IDLE and not self._headed else None
            self._unknown_method(line, error)
        except httptools.HttpParserError as error:
            self._refuse("BAD_REQUEST", f"Malformed HTTP request: {error}")
        phase = self.phase
        if phase == HEAD:
            # A single endless header never reaches a callback: bytes that can only belong to this head count too.
            if before != BODY and not self._headed:
                self._fed_bytes += len(data)
            self._check_head_bytes(max(self._head_bytes, self._fed_bytes))
        elif phase == BODY and before == BODY and not self._headed:
            self._count_framing(len(data), self._body_bytes - body_bytes)
        return rest

    # llhttp's callbacks, in the order of a request.

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.phase == STOPPED or self._replaying:
            return
        self.phase = HEAD
        self._head_bytes = self._fed_bytes = self._hosts = 0

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self.phase != HEAD:
            if self.phase == BODY:
                self._trailer_bytes += len(name) + len(value) + 4
                if self._trailer_bytes > self._limits.max_header_bytes:
                    self._trailers_too_large()
            return
        self._head_bytes += len(name) + len(value) + 4
        known = _SPELLINGS.get(name)
        if known is None:
            if len(name) not in _LENGTHS and not self._watched:
                return
            known = name.lower()
            if known not in _LOWER and known not in self._watched:
                return
        if known == b"host":
            self._hosts += 1
        # The first of several counts, as MLflow's server has it; connection options add up (RFC 9110 7.6.1).
        if known not in self._fields:
            self._fields[known] = value.strip(b" \t")
        elif known in {b"connection", b"accept", b"cache-control", b"transfer-encoding"}:
            self._fields[known] += b", " + value.strip(b" \t")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.phase != HEAD or self._replaying:
            return
        self._headed = True
        parser = self._parser
        version = parser.get_http_version()
        fields = self._fields
        self._head_bytes += len(self._url)
        if not self._check_head_bytes(self._head_bytes) or not self._check_framing(version):
            return
        method = parser.get_method()
        head = self._head = RequestHead()
        head.http10 = version == "1.0"
        upgrade = parser.should_upgrade()
        options = fields.get(b"connection", b"").lower()
        head.keep_alive = (
            parser.should_keep_alive()
            if not upgrade
            else method != b"CONNECT" and not head.http10 and b"close" not in [o.strip() for o in options.split(b",")]
        )
        head.host = fields.get(b"host", b"")
        head.head_only = method == b"HEAD"
        head.method = method
        head.url = self._url
        head.target = resolve(method, self._url, self._port_model)
        accept = fields.get(b"accept", b"")
        head.wire_head = wire.head(fields.get(b"content-type"), fields.get(b"content-encoding", b""), accept)
        if head.target.protocol:
            self._speak(head, fields.get(b"inference-header-content-length"))
        head.stream = _EVENT_STREAM in accept
        caching = fields.get(b"cache-control")
        head.bypass_cache = caching is not None and (b"no-cache" in caching.lower() or b"no-store" in caching.lower())
        request_id = fields.get(b"x-request-id")
        head.request_id = request_id if request_id is not None and _ID.fullmatch(request_id) else None
        if self._watched:
            head.watched = {name: fields[name] for name in self._watched if name in fields}
        self._read_timeout(head, fields.get(b"request-timeout-ms"))
        head.content_length = int(fields.get(b"content-length", b"0"))
        head.size_bytes = self._head_bytes
        chunked = b"transfer-encoding" in fields
        expect = fields.get(b"expect")
        head.reusable = (
            head.keep_alive
            and not upgrade
            and not chunked
            and expect is None
            and request_id is None
            and not head.http10
        )
        if self._admit is not None:
            self._admit(head, fields)
        self.phase = BODY
        self._keeps = True
        self._body_bytes = self._framing_bytes = self._bare_bytes = self._trailer_bytes = 0
        if self.first_head is None:
            self.first_head = head
        if head.http10 and head.stream:
            head.keep_alive = False  # without chunks the end of a stream is the end of the connection
        if head.content_length > self._limits.max_body_bytes:
            head.reusable = False
            self._body_too_large()
        elif expect is not None and not head.http10:
            self._expected(head, expect, has_body=chunked or head.content_length > 0)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self.phase != BODY:
            return
        size_bytes = len(body)
        before_bytes = self._body_bytes
        self._body_bytes = before_bytes + size_bytes
        if self._body_bytes > self._limits.max_body_bytes:
            self._body_too_large()
        elif not before_bytes:
            if size_bytes != self._head.content_length and not self._sink.takes_body(self._head):
                self._keeps = False
                self._body = None
            else:
                self._body = body
        elif self._keeps:
            # A buffer that grows, and not a list: a piece of two bytes is an object of 35.
            if self._buffer is None:
                self._buffer = BytesIO()
                self._buffer.write(self._body or b"")
                self._body = b""
            self._buffer.write(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.phase != BODY or (self._replaying is False and self._parser.should_upgrade()):
            return
        head = self._head
        body = self._body
        if self._buffer is not None:
            body = self._buffer.getvalue()
            self._buffer = None
        # Of what was read, nothing stays with a connection that only waits for its next request.
        self._head = _NO_HEAD
        self._fields = {}
        self._url = self._body = b""
        self._replaying = False
        self.phase = IDLE if head.keep_alive else STOPPED
        self._sink.on_request(head, body)

    # What llhttp leaves to its user.

    def _check_head_bytes(self, head_bytes: int) -> bool:
        if head_bytes <= self._limits.max_header_bytes:
            return True
        self._refuse("HEADERS_TOO_LARGE", f"The request's head exceeds {self._limits.max_header_bytes} bytes.")
        return False

    def _count_framing(self, fed_bytes: int, payload_bytes: int) -> None:
        """Bound what surrounds the payload of a body: it costs time and, as trailers, memory, and brings nothing."""
        framing_bytes = fed_bytes - payload_bytes
        self._framing_bytes += framing_bytes
        self._bare_bytes = 0 if payload_bytes else self._bare_bytes + framing_bytes
        most = self._limits.max_header_bytes
        if self._bare_bytes > most:
            self._trailers_too_large()
        elif self._framing_bytes > most + self._body_bytes:
            self._refuse("BAD_REQUEST", "The request's chunks are too small: send the body in fewer, larger ones.")

    def _trailers_too_large(self) -> None:
        most = self._limits.max_header_bytes
        self._refuse("HEADERS_TOO_LARGE", f"The request's trailers or chunk extensions exceed {most} bytes.")

    def _check_framing(self, version: str) -> bool:
        problem = ""
        coding = self._fields.get(b"transfer-encoding")
        if version not in {"1.1", "1.0"}:
            problem = f"HTTP/{version} is not spoken here, only 1.0 and 1.1."
        elif version == "1.1" and self._hosts != 1:
            problem = "An HTTP/1.1 request needs exactly one Host header."
        elif self._hosts > 1:
            problem = "A request may have only one Host header."
        elif self._hosts and not _HOST.fullmatch(self._fields[b"host"]):
            problem = "The Host header must be a name or an address, with or without a port."
        elif coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
            problem = "Transfer-Encoding may only be 'chunked', and only in HTTP/1.1."
        if problem:
            self._refuse("BAD_REQUEST", problem)
        return not problem

    def _read_timeout(self, head: RequestHead, value: bytes | None) -> None:
        if value is None:
            return
        if value.isdigit() and len(value) <= 12 and int(value) > 0:
            head.timeout_s = int(value) / 1000.0
        else:
            head.problem = "Request-Timeout-Ms must be a whole number of milliseconds greater than 0."

    def _speak(self, head: RequestHead, header_bytes: bytes | None) -> None:
        """Have the worker told what protocol the request speaks."""
        target = head.target
        if header_bytes is not None and not (header_bytes.isdigit() and len(header_bytes) <= 12):
            head.problem = "Inference-Header-Content-Length must be a whole number of bytes."
        elif target.want is Want.INFER and target.model is not None:
            size = int(header_bytes) if header_bytes is not None else None
            head.wire_head = wire.spoken_head(wire.Spoken(target.protocol, target.model, size), head.wire_head)

    def _expected(self, head: RequestHead, expect: bytes, *, has_body: bool) -> None:
        if expect.lower() != b"100-continue":
            self._refuse("EXPECTATION_FAILED", "Only 'Expect: 100-continue' is understood.")
        elif has_body and not self._sink.on_head(head):
            self.phase = STOPPED

    def _body_too_large(self) -> None:
        message = f"The request's body exceeds {self._limits.max_body_bytes} bytes."
        self._refuse("BODY_TOO_LARGE", message, self._head.target.protocol)

    def _refuse(self, code: str, message: str, protocol: str = "") -> None:
        if self.phase != STOPPED:
            self.phase = STOPPED
            self.drop_body()
            self._sink.on_refused(code, message, protocol)

    def _unknown_method(self, line: re.Match[bytes] | None, error: Exception) -> None:
        """Llhttp knows a list of methods; any other token is one too, and not allowed on any path (RFC 9110 9.1)."""
        if self.phase != HEAD or line is None:
            self._refuse("BAD_REQUEST", f"Malformed HTTP request: {error}")
            return
        head = RequestHead()
        head.keep_alive = False
        head.method, head.url = line[1], line[2]
        head.target = resolve(line[1], line[2], self._port_model)
        if self._admit is not None:
            self._admit(head, self._fields)
        self.phase = STOPPED
        self._sink.on_request(head, b"")

    def _ignore_upgrade(self) -> None:
        """Go on behind a head that asked for another protocol, as if it had not: a new parser is given its framing."""
        if self.phase == STOPPED:
            return
        head = self._head
        if b"upgrade" not in self._fields:  # CONNECT: what follows is not for us
            self.phase = STOPPED
            self._sink.on_request(head, b"")
            return
        framing = b"content-length: %d\r\n" % head.content_length
        if b"transfer-encoding" in self._fields:
            framing = b"transfer-encoding: chunked\r\n"
        self._replaying = True
        self._parser = httptools.HttpRequestParser(self)
        closing = b"" if head.keep_alive else b"connection: close\r\n"
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b%b\r\n" % (framing, closing))
