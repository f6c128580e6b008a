"""Messages on a byte stream between headrace's own processes: a little-endian u32 length, then MessagePack."""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

_LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class FramingError(Exception):
    """The peer has sent something that is no message."""


def encode(message: Any) -> bytes:
    """One message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


class Decoder(Generic[T]):
    """Cuts a byte stream into messages of one (union) type; feed it what the socket gave, in any pieces."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """Take more bytes, return the messages that are whole; raises FramingError for what cannot be one."""
        self._buffer += data
        messages: list[T] = []
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > MAX_MESSAGE_BYTES:
                raise FramingError(f"a message of {length} bytes; at most {MAX_MESSAGE_BYTES} are possible")
            end = at + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            try:
                messages.append(self._decoder.decode(self._buffer[at + _LENGTH.size : end]))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise FramingError(str(error)) from None
            at = end
        del self._buffer[:at]
        return messages
