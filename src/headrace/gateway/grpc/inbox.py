"""The messages of one call, put together from what came of them, and unpacked. Pure."""

from __future__ import annotations

import zlib

from headrace.gateway.grpc.schema import Malformed

PREFIX_BYTES = 5
_INFLATERS = {b"gzip": 31, b"deflate": 15}


class TooLarge(Exception):
    """A message that is larger than it may be."""


class Inbox:
    """`held_bytes` have come of messages that were not taken. None may have more than `most_bytes`."""

    __slots__ = ("_buffer", "_coding", "_most_bytes")

    def __init__(self, most_bytes: int, coding: bytes) -> None:
        self._buffer = bytearray()
        self._most_bytes = most_bytes
        self._coding = coding

    @property
    def held_bytes(self) -> int:
        """See the class's docstring."""
        return len(self._buffer)

    def add(self, data: bytes) -> None:
        """More has come."""
        self._buffer += data

    def clear(self) -> None:
        """Let go of what has come."""
        self._buffer.clear()

    def whole(self, data: bytes) -> bytes | None:
        """The only message of a call, where `data` is all of it; raises Malformed. It is not kept."""
        size = len(data) - PREFIX_BYTES
        if self._buffer or not 0 <= size <= self._most_bytes or int.from_bytes(data[1:PREFIX_BYTES]) != size:
            return None
        message = data[PREFIX_BYTES:]
        return self._inflated(data[0], message) if data[0] else message

    def exceeds(self) -> bool:
        """Whether the message that comes is too large."""
        buffer = self._buffer
        return len(buffer) >= PREFIX_BYTES and int.from_bytes(buffer[1:PREFIX_BYTES]) > self._most_bytes

    def take(self) -> bytes | None:
        """The next message, if it is whole; raises TooLarge and Malformed."""
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return None
        size = int.from_bytes(buffer[1:PREFIX_BYTES])
        end = size + PREFIX_BYTES
        if size > self._most_bytes:
            raise TooLarge(f"The message exceeds {self._most_bytes} bytes.")
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = bytes(view[PREFIX_BYTES:end])
        flag = buffer[0]
        del buffer[:end]
        return self._inflated(flag, message) if flag else message

    def _inflated(self, flag: int, message: bytes) -> bytes:
        bits = _INFLATERS.get(self._coding)
        if flag != 1 or bits is None:
            coding = self._coding[:40].decode("latin-1")
            raise Malformed(f"Messages may be compressed with gzip or deflate, not with '{coding}'.")
        inflater = zlib.decompressobj(bits)
        try:
            found = inflater.decompress(message, self._most_bytes + 1)
        except zlib.error:
            raise Malformed("The message cannot be decompressed.") from None
        if len(found) > self._most_bytes:
            raise TooLarge(f"The message exceeds {self._most_bytes} bytes when it is decompressed.")
        if not inflater.eof:
            raise Malformed("The compressed message is cut off.")
        return found
