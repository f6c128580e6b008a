"""What goes out on one connection, as far as the client's windows let it (RFC 9113, section 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from headrace.gateway.grpc import frames

if TYPE_CHECKING:
    import asyncio

    from headrace.gateway.grpc.answering import AnswerWriter

LARGEST_WINDOW = 2**31 - 1


class Sender(Protocol):
    """A call, as far as it is written: see `Call`."""

    number: int
    writer: AnswerWriter
    window: int
    pending: bytearray
    tail: bytes | None
    due_s: float
    done: bool

    def flushed(self) -> None:
        """The client has taken what was pending, or some of it."""


S = TypeVar("S", bound=Sender)


class Outbox(Generic[S]):
    """`first_window` is that of calls which begin. `finished` is told of a call whose answer is out.

    What the client does not take is due after `patience_s` without progress; `remind` is told when.
    """

    __slots__ = (
        "_blocked",
        "_finished",
        "_most_frame",
        "_patience_s",
        "_remind",
        "_window",
        "first_window",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, finished: Callable[[S], None], remind: Callable[[float], None], patience_s: float) -> None:
        self._finished = finished
        self._remind = remind
        self._patience_s = patience_s
        self._blocked: dict[int, S] = {}
        self._window = self.first_window = 65_535
        self._most_frame = frames.MAX_FRAME_BYTES

    def write(self, call: S, data: bytes, tail: bytes | None = None) -> None:
        """Write a message of an answer, and the fields that end the call; what begins it is written with the first."""
        if call.done:
            return
        number = call.number
        head = call.writer.take_head()
        if head is not None and tail is not None and not data:
            self.transport.write(frames.frame(frames.HEADERS, frames.LAST_BLOCK, number, head + tail))
            self._finished(call)
            return
        out = b"" if head is None else frames.frame(frames.HEADERS, frames.END_HEADERS, number, head)
        size = len(data)
        if call.pending or size > call.window or size > self._window or size > self._most_frame:
            if out:
                self.transport.write(out)
            call.pending += data
            call.tail = tail
            self._blocked[number] = call
            call.due_s = monotonic() + self._patience_s
            self._remind(call.due_s)
            self.flush()
            return
        call.window -= size
        self._window -= size
        if size:
            out += frames.frame(frames.DATA, 0, number, data)
        if tail is None:
            self.transport.write(out)
            return
        self.transport.write(out + frames.frame(frames.HEADERS, frames.LAST_BLOCK, number, tail))
        self._finished(call)

    def flush(self) -> None:
        """Write what the client takes now of what is pending."""
        for number, call in list(self._blocked.items()):
            if call.done:
                self._blocked.pop(number, None)
                continue
            written = self._write_pending(call)
            if call.pending:
                if written:
                    call.due_s = monotonic() + self._patience_s
                    call.flushed()
                continue
            self._blocked.pop(number, None)
            if call.tail is not None:
                self.transport.write(frames.frame(frames.HEADERS, frames.LAST_BLOCK, number, call.tail))
                self._finished(call)
            else:
                call.flushed()

    def widen(self, call: S | None, size: int) -> bool:
        """The client takes so much more, of one call or (None) of all together; False: more than there may be."""
        if call is None:
            self._window += size
            wide = self._window
        else:
            call.window += size
            wide = call.window
        if wide > LARGEST_WINDOW:
            return False
        if self._blocked:
            self.flush()
        return True

    def limit_frames(self, size: int) -> None:
        """The client takes frames of this size."""
        self._most_frame = max(frames.MAX_FRAME_BYTES, min(size, 1 << 20))

    def forget(self, call: S) -> None:
        """Nothing more is written of a call."""
        self._blocked.pop(call.number, None)

    def _write_pending(self, call: S) -> bool:
        size = min(len(call.pending), call.window, self._window)
        if size <= 0:
            return False
        with memoryview(call.pending) as view:
            for at in range(0, size, self._most_frame):
                piece = bytes(view[at : min(at + self._most_frame, size)])
                self.transport.write(frames.frame(frames.DATA, 0, call.number, piece))
        del call.pending[:size]
        call.window -= size
        self._window -= size
        return True
