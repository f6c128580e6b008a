"""From bytes to requests: httptools (llhttp) with what it does not check added, and no I/O.

A `RequestReader` is fed what a client sent, in any pieces, and calls its sink in the order of the stream:
`on_head` once for a request that asked for ``100 Continue``, `on_request` once for each whole request, and at most
once, last, `on_refused`. After that, and after a request that ends the connection, it ignores what it is fed.

Refused beyond what llhttp refuses: HTTP versions other than 1.0 and 1.1, a missing or second Host in HTTP/1.1 and one
that is no host (RFC 9112 3.2), any Transfer-Encoding but ``chunked`` and any at all in HTTP/1.0 (RFC 9112 6.1), heads
and bodies that are too large. ``Upgrade`` is ignored, as RFC 9110 7.8 allows: the request, body and all, is answered as
HTTP/1.1.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from headrace.core.messages import Limits
from headrace.gateway.routing import Target, resolve
from headrace_worker import wire

IDLE = 0
HEAD = 1
BODY = 2
STOPPED = 3

_EVENT_STREAM = b"text/event-stream"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) (/[^\s\x00-\x1f\x7f-\xff]*) HTTP/1\.[01]\r\n")
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")  # RFC 9110 7.2, RFC 3986 3.2.2
_NONE_WATCHED: dict[bytes, bytes] = {}

_KNOWN = (
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
)
_SPELLINGS: dict[bytes, bytes] = {s: n.lower() for n in _KNOWN for s in (n, n.lower(), n.upper())}
_LOWER = frozenset(n.lower() for n in _KNOWN)
_LENGTHS = frozenset(map(len, _KNOWN))


class RequestHead:
    """What a request's head says, as far as the gateway cares; never changed, so that equal heads can share one.

    `wire_head` is what the worker is told of it. `timeout_s` is the client's limit or None, `problem` an error message
    if the head is well-formed HTTP that cannot be served. `content_length` is 0 for no body and for chunks.
    `reusable`: the same bytes again mean the same again, and the connection goes on afterwards. `watched` holds those
    of `Limits.watched_headers` that the request has. `method` and `url` are as sent, for the access log.
    """

    __slots__ = (
        "bypass_cache",
        "content_length",
        "head_only",
        "host",
        "http10",
        "keep_alive",
        "method",
        "problem",
        "request_id",
        "reusable",
        "stream",
        "target",
        "timeout_s",
        "url",
        "watched",
        "wire_head",
    )

    def __init__(self) -> None:
        self.target = Target(0)  # type: ignore[arg-type]
        self.wire_head = b""
        self.host = b""
        self.http10 = False
        self.keep_alive = True
        self.head_only = False
        self.method = b""
        self.url = b""
        self.content_length = 0
        self.stream = False
        self.bypass_cache = False
        self.request_id: bytes | None = None
        self.timeout_s: float | None = None
        self.problem = ""
        self.reusable = False
        self.watched: dict[bytes, bytes] = _NONE_WATCHED


class Sink(Protocol):
    """Who a `RequestReader` reports to: a connection, or a test's recorder."""

    def on_head(self, head: RequestHead) -> bool:
        """A request waits for ``100 Continue``; False stops the reader, for the sink has refused it."""

    def on_request(self, head: RequestHead, body: bytes) -> None:
        """A request is complete."""

    def on_refused(self, code: str, message: str) -> None:
        """The stream cannot be understood or exceeds a limit: one error answer, then close."""


class RequestReader:
    """Reads the requests of one connection; see the module's docstring.

    `phase` says what is awaited, `body_bytes` how much of an incomplete body is held.
    """

    def __init__(self, sink: Sink, limits: Limits, port_model: str | None) -> None:
        self._sink = sink
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
        self._body: list[bytes] = []
        self.body_bytes = 0
        self._head = RequestHead()
        self._replaying = False
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take more bytes. `first_head` is afterwards the head of the request that these bytes began with, if any."""
        if self.phase == STOPPED:
            return
        was_idle = self.phase == IDLE
        was_in_head = self.phase == HEAD
        self.first_head = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError as error:
            # Only if it is the very first thing in these bytes do we know where its request line begins.
            line = _REQUEST_LINE.match(data) if was_idle and self.first_head is None else None
            self._unknown_method(line, error)
        except httptools.HttpParserError as error:
            self._refuse("BAD_REQUEST", f"Malformed HTTP request: {error}")
        if self.phase == HEAD:
            # A single endless header never reaches a callback: bytes that can only belong to this head count too.
            if was_in_head or (was_idle and self.first_head is None):
                self._fed_bytes += len(data)
            self._check_head_bytes(max(self._head_bytes, self._fed_bytes))

    def close(self) -> None:
        """Let go of the parser, which refers back to this reader, and of what was read."""
        self.phase = STOPPED
        self.drop_body()
        del self._parser

    def drop_body(self) -> None:
        """Let go of an incomplete body."""
        self._body = []
        self.body_bytes = 0

    # llhttp's callbacks, in the order of a request.

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.phase == STOPPED or self._replaying:
            return
        self.phase = HEAD
        self._head_bytes = self._fed_bytes = 0
        self._url = b""
        self._hosts = 0
        self._fields = {}

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self.phase != HEAD:
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
        head.stream = _EVENT_STREAM in accept
        caching = fields.get(b"cache-control")
        head.bypass_cache = caching is not None and (b"no-cache" in caching.lower() or b"no-store" in caching.lower())
        request_id = fields.get(b"x-request-id")
        head.request_id = request_id if request_id is not None and _ID.fullmatch(request_id) else None
        if self._watched:
            head.watched = {name: fields[name] for name in self._watched if name in fields}
        self._read_timeout(head, fields.get(b"request-timeout-ms"))
        head.content_length = int(fields.get(b"content-length", b"0"))
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
        self.phase = BODY
        self._body = []
        self.body_bytes = 0
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
        self._body.append(body)
        self.body_bytes += len(body)
        if self.body_bytes > self._limits.max_body_bytes:
            self._body_too_large()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.phase != BODY or (self._replaying is False and self._parser.should_upgrade()):
            return
        head = self._head
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._body = []
        self.body_bytes = 0
        self._replaying = False
        self.phase = IDLE if head.keep_alive else STOPPED
        self._sink.on_request(head, body)

    # What llhttp leaves to its user.

    def _check_head_bytes(self, head_bytes: int) -> bool:
        if head_bytes <= self._limits.max_header_bytes:
            return True
        self._refuse("HEADERS_TOO_LARGE", f"The request's head exceeds {self._limits.max_header_bytes} bytes.")
        return False

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

    def _expected(self, head: RequestHead, expect: bytes, *, has_body: bool) -> None:
        if expect.lower() != b"100-continue":
            self._refuse("EXPECTATION_FAILED", "Only 'Expect: 100-continue' is understood.")
        elif has_body and not self._sink.on_head(head):
            self.phase = STOPPED

    def _body_too_large(self) -> None:
        self._refuse("BODY_TOO_LARGE", f"The request's body exceeds {self._limits.max_body_bytes} bytes.")

    def _refuse(self, code: str, message: str) -> None:
        if self.phase != STOPPED:
            self.phase = STOPPED
            self.drop_body()
            self._sink.on_refused(code, message)

    def _unknown_method(self, line: re.Match[bytes] | None, error: Exception) -> None:
        """Llhttp knows a list of methods; any other token is one too, and not allowed on any path (RFC 9110 9.1)."""
        if self.phase != HEAD or line is None:
            self._refuse("BAD_REQUEST", f"Malformed HTTP request: {error}")
            return
        head = RequestHead()
        head.keep_alive = False
        head.method, head.url = line[1], line[2]
        head.target = resolve(line[1], line[2], self._port_model)
        self.phase = STOPPED
        self._sink.on_request(head, b"")

    def _ignore_upgrade(self, rest: bytes) -> None:
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
        first = self.first_head
        self._replaying = True
        self._parser = httptools.HttpRequestParser(self)
        closing = b"" if head.keep_alive else b"connection: close\r\n"
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b%b\r\n" % (framing, closing))
        if rest:
            self.feed(rest)
        self.first_head = first
