"""Which requests are copied to a shadow version, and how its answers compare. Pure.

A copy must not slow down requests: it is made only if there is room to spare, and few are under way at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["equal", "different", "error", "dropped"]

MOST_COPIES = 32
MOST_BYTES = 4 * 1024 * 1024


@dataclass
class Shadowing:
    """Decides which requests are copied: exactly a `share` (0 to 1) of them, but for what is dropped under load."""

    share: float
    copies: int = 0
    size_bytes: int = 0
    _credit: float = 0.0

    def due(self) -> bool:
        """Whether this request belongs to the share."""
        self._credit += self.share
        if self._credit < 1.0 - 1e-9:
            return False
        self._credit -= 1.0
        return True

    def admit(self, size_bytes: int, *, waiting_rows: int, frame_rows: int) -> bool:
        """Whether a copy may go now, and count it if so.

        `waiting_rows` wait for a worker in the pools of the real and of the shadow version; a worker takes up to
        `frame_rows` at once. Once more than half of that waits, there is nothing to spare.
        """
        busy = 2 * waiting_rows > frame_rows
        if busy or self.copies >= MOST_COPIES or self.size_bytes + size_bytes > MOST_BYTES:
            return False
        self.copies += 1
        self.size_bytes += size_bytes
        return True

    def done(self, size_bytes: int) -> None:
        """An admitted copy has ended."""
        self.copies -= 1
        self.size_bytes -= size_bytes


def compare(real: tuple[int, bytes], copy: tuple[int, bytes]) -> Outcome:
    """What a shadow's (status, body) is beside the real one's."""
    if copy[0] >= 500 > real[0] or (copy[0] >= 400 and real[0] == 200):
        return "error"
    return "equal" if copy == real else "different"
