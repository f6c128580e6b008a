"""Answers as bytes: status lines, headers, and the bodies that the gateway makes itself. Pure."""

from __future__ import annotations

from time import struct_time
from typing import TYPE_CHECKING

import msgspec

from headrace.core.errors import HTTP_STATUS
from headrace.gateway.http.targets import MCP
from headrace_worker.wire import FLAG_ERROR_OBJECT, OPENAI

if TYPE_CHECKING:
    from headrace.gateway.http.targets import Target

JSON = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_FOUND = b'{"detail":"Not Found"}'
METHOD_NOT_ALLOWED = b'{"detail":"Method Not Allowed"}'
CHALLENGE = b'www-authenticate: Bearer realm="headrace"\r\n'
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASONS = {
    200: b"OK",
    202: b"Accepted",
    204: b"No Content",
    307: b"Temporary Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


# What errors are called in OpenAI's dialect.
_KINDS = {
    "UNAUTHENTICATED": "authentication_error",
    "PERMISSION_DENIED": "permission_error",
    "REQUEST_LIMIT_EXCEEDED": "rate_limit_error",
}
_CODES = {"UNAUTHENTICATED": "invalid_api_key", "REQUEST_LIMIT_EXCEEDED": "rate_limit_exceeded"}


class _Coded(msgspec.Struct):
    error_code: str


def status_line(status: int) -> bytes:
    """The first line of an answer, with its line end."""
    return b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))


def render(
    status: int,
    content_type: bytes | None,
    body: bytes,
    *,
    date: bytes,
    request_id: bytes,
    extra: bytes = b"",
    head_only: bool = False,
) -> bytes:
    """A whole answer. `date` and `extra` are complete header lines; `head_only` leaves the body out (HEAD)."""
    kind = b"content-type: %b\r\n" % content_type if content_type is not None else b""
    return b"%b%b%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (
        status_line(status),
        date,
        kind,
        extra,
        len(body),
        request_id,
        b"" if head_only else body,
    )


def error_body(code: str, message: str, request_id: bytes | None = None) -> bytes:
    """The JSON body of an error that the gateway reports itself; with the request's id if one is given."""
    members = {"error_code": code, "message": message}
    if request_id is not None:
        members["request_id"] = request_id.decode("ascii")
    return msgspec.json.encode(members)


def protocol_error(protocol: str, code: str, message: str) -> bytes:
    """The JSON body of an error as its protocol has it; the Open Inference Protocol's is KServe's V1's, too."""
    if protocol == MCP:
        error = {"code": -32000, "message": message, "data": {"error_code": code}}
        return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
    return msgspec.json.encode({"error": _dialect_error(code, message) if protocol == OPENAI else message})


def error_event(target: Target, code: str, message: str) -> bytes:
    """The event that ends a stream with an error."""
    if target.protocol != OPENAI:
        return b"event: error\ndata: %b\n\n" % error_body(code, message)
    error = _dialect_error(code, message)
    if target.detail != b"responses":
        return b"data: %b\n\n" % msgspec.json.encode({"error": error})
    told = {"type": "error", "code": error["code"], "message": message, "param": None, "error": error}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(told)


def _dialect_error(code: str, message: str) -> dict[str, str | None]:
    kind = _KINDS.get(code, "server_error" if HTTP_STATUS[code] >= 500 else "invalid_request_error")
    return {"message": message, "type": kind, "param": None, "code": _CODES.get(code, code.lower())}


def error_code(body: bytes) -> str:
    """The code in a worker's error body; empty where there is none. The message is the caller's business, and stays."""
    try:
        return msgspec.json.decode(body, type=_Coded).error_code[:64]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def with_request_id(body: bytes, request_id: bytes, flags: int) -> bytes:
    """Add the member ``request_id`` to a worker's own JSON object; any other body is left as it is."""
    end = body.rstrip()
    if not flags & FLAG_ERROR_OBJECT or not end.endswith(b"}"):
        return body
    comma = b"" if end[:-1].rstrip().endswith(b"{") else b", "
    return b'%b%b"request_id": "%b"}' % (end[:-1], comma, request_id.replace(b"\\", b"\\\\").replace(b'"', b'\\"'))


def http_date(moment: struct_time) -> bytes:
    """A moment in UTC as RFC 9110 5.6.7 has it, in every locale."""
    year, month, day, hour, minute, second, weekday, _, _ = moment
    text = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
    return text.encode("ascii")


def http_status(code: str) -> int:
    """The HTTP status of an error code of `core.errors`."""
    return HTTP_STATUS[code]
