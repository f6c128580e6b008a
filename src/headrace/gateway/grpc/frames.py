"""Frames of HTTP/2: their numbers, how they are read and written. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from headrace.gateway.grpc.headers import literal

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
MAX_FRAME_BYTES = 16_384

DATA, HEADERS, PRIORITY_FRAME, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
LAST_BLOCK = END_HEADERS | END_STREAM

NO_ERROR = 0
PROTOCOL_ERROR = 1
FLOW_CONTROL_ERROR = 3
FRAME_SIZE_ERROR = 6
REFUSED_STREAM = 7
CANCEL = 8
COMPRESSION_ERROR = 9
ENHANCE_YOUR_CALM = 11

MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4
MAX_FRAME_SIZE = 5
MAX_HEADER_LIST_SIZE = 6

NOT_GRPC = literal(b":status", b"415")
"""The answer to a request that is none of gRPC's."""

_HEAD = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")


class Broken(Exception):
    """The client breaks the protocol; `code` says how."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """(length, kind, flags, number) of the frame at `at`."""
    high, low, kind, flags, number = _HEAD.unpack_from(data, at)
    return high << 8 | low, kind, flags, number & 0x7FFFFFFF


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """A whole frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, number) + payload


def settings(most_calls: int, window: int, most_header_bytes: int) -> bytes:
    """The server's settings."""
    bounds = {MAX_CONCURRENT_STREAMS: most_calls, INITIAL_WINDOW_SIZE: window, MAX_HEADER_LIST_SIZE: most_header_bytes}
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in bounds.items()))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield (which, value) of a client's; raises Broken."""
    if len(payload) % _SETTING.size:
        raise Broken(FRAME_SIZE_ERROR, "settings that are cut off")
    yield from _SETTING.iter_unpack(payload)


def window_update(number: int, size: int) -> bytes:
    """The client may send so much more."""
    return frame(WINDOW_UPDATE, 0, number, _NUMBER.pack(size))


def increment(payload: bytes) -> int:
    """How much more may be sent; raises Broken."""
    if len(payload) != _NUMBER.size:
        raise Broken(FRAME_SIZE_ERROR, "a window update that is none")
    size: int = _NUMBER.unpack(payload)[0] & 0x7FFFFFFF
    if not size:
        raise Broken(PROTOCOL_ERROR, "a window update of nothing")
    return size


def reset(number: int, code: int) -> bytes:
    """The end of a call without more words."""
    return frame(RST_STREAM, 0, number, _NUMBER.pack(code))


def goaway(last: int, code: int, message: bytes) -> bytes:
    """The end of a connection: calls up to `last` are answered."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last) + _NUMBER.pack(code) + message[:200])


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload without its padding; raises Broken."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken(PROTOCOL_ERROR, "padding that is too long")
    return payload[1 : len(payload) - payload[0]]


def without_priority(flags: int, payload: bytes) -> bytes:
    """A header block without what says how urgent it is; raises Broken."""
    if not flags & PRIORITY:
        return payload
    if len(payload) < 5:
        raise Broken(FRAME_SIZE_ERROR, "a priority that is cut off")
    return payload[5:]
