"""Server-sent events, put together again from the pieces of a worker's stream. Pure."""

from __future__ import annotations

from collections.abc import Iterator

_END = b"\n\n"


class TooLong(Exception):
    """An event that holds more than it may."""


class Events:
    """`held_bytes` is what has come of an event that is not whole; at most `most_bytes` of it are kept."""

    __slots__ = ("_buffer", "_most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self._buffer = bytearray()
        self._most_bytes = most_bytes

    @property
    def held_bytes(self) -> int:
        """See the class's docstring."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Yield (whether it is an error, its data) of each event that is whole now; raises TooLong."""
        buffer = self._buffer
        start = max(0, len(buffer) - 1)
        buffer += data
        while (end := buffer.find(_END, start)) >= 0:
            event = bytes(buffer[:end])
            del buffer[: end + len(_END)]
            start = 0
            failed = event.startswith(b"event: error\n")
            text = event.partition(b"data: ")[2]
            if failed or text != b"[DONE]":
                yield failed, text
        if len(buffer) > self._most_bytes:
            raise TooLong
