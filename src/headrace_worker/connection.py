"""A worker's connection to one gateway, and what a call beside the loop has to say on it."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Optional

from headrace_worker import wire

if TYPE_CHECKING:
    from headrace_worker.pieces import Pieces

STREAM_BUFFER_BYTES = 65_536
"""A stream's next chunk is asked of the model once less than this is waiting to be sent."""


class Connection:
    """One gateway: what it sent and is not answered, what it has not yet taken, its streams.

    `contexts` has the traces of frames that are still to come.
    """

    __slots__ = ("calls", "contexts", "frames", "out", "reader", "socket", "streams", "unread_bytes", "watching")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = wire.FrameReader()
        self.frames: deque[wire.Frame] = deque()
        self.unread_bytes = 0
        self.out = bytearray()
        self.streams: dict[int, Pieces] = {}
        self.calls: set[int] = set()
        self.contexts: dict[int, bytes] = {}
        self.watching = selectors.EVENT_READ

    @property
    def is_ready(self) -> bool:
        """Whether there is something to do for it without anything new arriving."""
        if self.frames and not self.out:
            return True
        return len(self.out) < STREAM_BUFFER_BYTES and any(s.may_go_on for s in self.streams.values())


class Post(NamedTuple):
    """What a call has to say: a frame for its gateway, and the stream that begins with it. `is_last`: it is over."""

    connection: Connection
    batch_id: int
    data: bytes
    stream: Optional[Pieces] = None  # noqa: UP045 - runs on Python 3.8
    is_last: bool = False
