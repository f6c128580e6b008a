"""Server-sent events, read piece by piece (WHATWG HTML 9.2.6), as far as model servers send them. Pure."""

from __future__ import annotations

from typing import NamedTuple

DONE = "[DONE]"


class Event(NamedTuple):
    """`kind` is ``message`` unless the stream names another."""

    kind: str
    data: str


class EventReader:
    """Cuts a byte stream into events; feed it what arrived, in any pieces. A started event at the end is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes; return the events that are whole now."""
        self._rest += data
        events: list[Event] = []
        while True:
            line, found, rest = self._line()
            if not found:
                return events
            self._rest = rest
            if line:
                self._field(line.decode("utf-8", "replace"))
            elif self._data:
                events.append(Event(self._kind or "message", "\n".join(self._data)))
                self._kind, self._data = "", []
            else:
                self._kind = ""

    def _line(self) -> tuple[bytes, bool, bytes]:
        """The next line that is known to be whole: one that ends in CR is so only when the next byte is there."""
        rest = self._rest
        ends = [at for at in (rest.find(b"\n"), rest.find(b"\r")) if at >= 0]
        if not ends:
            return b"", False, rest
        at = min(ends)
        if rest[at : at + 1] == b"\r":
            if at + 1 == len(rest):
                return b"", False, rest
            if rest[at + 1 : at + 2] == b"\n":
                return rest[:at], True, rest[at + 2 :]
        return rest[:at], True, rest[at + 1 :]

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
