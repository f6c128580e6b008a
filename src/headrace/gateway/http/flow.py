"""How fast bytes pass through one connection, in both directions, and how it ends. It knows nothing of requests."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.core.serving.memory import ConnectionMemory

LINGER_S = 2.0
"""How long a client that is told of an error while it sends may take to read that."""
_LINGER_BYTES = 64 * 1024 * 1024
_PROBE_S = 0.01
_PROBE_LONGEST_S = 0.5
_INT_BYTES = struct.calcsize("i")


class Flow:
    """`read_paused`: nothing more is read for now. `write_paused`: the client does not read as fast as it asks."""

    __slots__ = ("_account", "_discarded_bytes", "_transport", "_unwritten_bytes", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport, account: ConnectionMemory) -> None:
        self._transport = transport
        self._account = account
        self._discarded_bytes = 0
        self._unwritten_bytes = 0
        self.read_paused = False
        self.write_paused = False

    @property
    def has_unread(self) -> bool:
        """Whether the client has sent something that was not read yet: closed now, it would be reset unanswered."""
        if self._transport.is_closing():
            return False
        descriptor = self._transport.get_extra_info("socket").fileno()
        return fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_INT_BYTES)) != bytes(_INT_BYTES)

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if not self.read_paused and not self._transport.is_closing():
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless the client does not read either."""
        if self.read_paused and not self.write_paused and not self._transport.is_closing():
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client does not take what is written: take nothing from it either, and count what waits."""
        self.write_paused = True
        self._unwritten_bytes = self._transport.get_write_buffer_size()
        self._account.unread(self._unwritten_bytes)
        self.pause_reading()

    def resume_writing(self) -> None:
        """The client has read enough."""
        self.write_paused = False
        self._account.unread(0)

    def count_unread(self) -> None:
        """More was written while the client does not read."""
        self._account.unread(self._transport.get_write_buffer_size())

    def drains(self) -> bool:
        """Whether a slow client has read anything since the last look."""
        unwritten_bytes = self._transport.get_write_buffer_size()
        drains = unwritten_bytes < self._unwritten_bytes
        self._unwritten_bytes = unwritten_bytes
        return drains

    def discard(self, data: bytes) -> None:
        """Read on for nothing: a client that is still sending would not see why its connection ends."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > _LINGER_BYTES:
            self._transport.abort()

    def end_writing(self) -> None:
        """Say that nothing else will be written, and read on."""
        self.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def watch_for_reset(self, loop: asyncio.AbstractEventLoop, delay_s: float = _PROBE_S) -> None:
        """Nobody reads from this socket any more, so a reset goes unseen unless it is looked for."""
        if self._transport.is_closing():
            return
        try:
            self._transport.get_extra_info("socket").getpeername()
        except OSError:
            self._transport.abort()
            return
        loop.call_later(delay_s, self.watch_for_reset, loop, min(2.0 * delay_s, _PROBE_LONGEST_S))
