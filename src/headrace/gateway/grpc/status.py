"""How calls end: gRPC's codes for the statuses of HTTP, and the fields that tell them. Pure."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from headrace.gateway.grpc.headers import literal

OK = 0
CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
ABORTED = 10
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16

_CODES = {
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    405: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    409: ABORTED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    431: RESOURCE_EXHAUSTED,
    501: UNIMPLEMENTED,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}
_MAX_MESSAGE = 1500
_UNTOLD = frozenset((b"www-authenticate", b"allow", b"location", b"connection", b"content-length"))

ANSWER = b"\x88" + literal(b"content-type", b"application/grpc")
"""The fields that every answer begins with: its HTTP status is 200, also for an error."""

WELL = literal(b"grpc-status", b"0")


class _Told(msgspec.Struct):
    error: str = ""
    message: str = ""


def code(http_status: int) -> int:
    """The code of gRPC for an HTTP status."""
    return OK if http_status < 300 else _CODES.get(http_status, INVALID_ARGUMENT if http_status < 500 else INTERNAL)


def told(body: bytes) -> str:
    """What the body of an error says."""
    try:
        found = msgspec.json.decode(body, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:_MAX_MESSAGE].decode("utf-8", "replace")
    return found.error or found.message


def trailer(number: int, message: str, extra: bytes = b"") -> bytes:
    """The fields that end a call; `extra` is complete header lines of HTTP/1.1."""
    escaped = quote(message[:_MAX_MESSAGE], safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode()
    fields = literal(b"grpc-status", b"%d" % number) + (literal(b"grpc-message", escaped) if escaped else b"")
    for line in extra.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon and name not in _UNTOLD:
            fields += literal(name, value)
    return fields
