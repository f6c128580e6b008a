"""What of a process's output is logged: lines, within a budget; the rest is counted, and said in one line a second.

A model prints what it likes, as fast as it likes. The log grows by no more than `BYTES_A_SECOND`,
and each call does a bounded amount of work. Time is a number of seconds on a clock that does not go back.
"""

from __future__ import annotations

from typing import NamedTuple

LINES_AT_A_TIME = 20
LINES_A_SECOND = 100
BYTES_A_SECOND = 32 * 1024
SECONDS_SAVED = 10
"""How much of what it has not used a process may use at once: a traceback, what libraries say when they load."""

MOST_LINE_BYTES = 8 * 1024
TAIL_BYTES = 16 * 1024
TAIL_LINES = 20


class Said(NamedTuple):
    """One line for the log. `left_out_lines` is more than 0 where the line stands for others."""

    line: str
    left_out_lines: int = 0
    left_out_bytes: int = 0


class Output:
    """The output of one process, or of a process and its forks, which share one pipe."""

    def __init__(self, now_s: float) -> None:
        self._second_s = now_s
        self._lines = LINES_A_SECOND * SECONDS_SAVED
        self._bytes = BYTES_A_SECOND * SECONDS_SAVED
        self._line = bytearray()
        self._line_bytes = 0
        self._skipping = False
        self._left_out_lines = 0
        self._left_out_bytes = 0
        self._tail = b""

    @property
    def last_lines(self) -> list[str]:
        """The newest lines, logged or not."""
        lines = (_text(line[-MOST_LINE_BYTES:]) for line in self._tail.split(b"\n"))
        return [line for line in lines if line][-TAIL_LINES:]

    @property
    def owes(self) -> bool:
        """Whether `summary` would have something to say in the next second."""
        return self._left_out_bytes > 0

    def came(self, data: bytes) -> None:
        """Keep the end of what has come, logged or not."""
        self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]

    def take(self, data: bytes, now_s: float) -> tuple[list[Said], bytes]:
        """Cut `data` into lines; returns at most `LINES_AT_A_TIME` to log, and what is to be taken in the next call."""
        said = self.summary(now_s)
        at = 0
        while at < len(data) and len(said) < LINES_AT_A_TIME:
            if self._lines <= 0 or self._bytes <= 0:
                self._leave_out(data[at:])
                return said, b""
            end = data.find(b"\n", at)
            rest, at = (data[at:], len(data)) if end < 0 else (data[at:end], end + 1)
            if self._skipping:
                self._skipping = end < 0
                self._left_out_lines += end >= 0
                self._left_out_bytes += len(rest) + (end >= 0)
            else:
                self._extend(rest)
                said += self._finish() if end >= 0 else []
        return said, data[at:]

    def summary(self, now_s: float) -> list[Said]:
        """Once a second has passed: the line for those that were left out in it, if any were."""
        seconds = int(now_s - self._second_s)
        if seconds <= 0:
            return []
        self._second_s += seconds
        self._lines = min(self._lines + seconds * LINES_A_SECOND, LINES_A_SECOND * SECONDS_SAVED)
        self._bytes = min(self._bytes + seconds * BYTES_A_SECOND, BYTES_A_SECOND * SECONDS_SAVED)
        return self._tell()

    def end(self) -> list[Said]:
        """No more comes: what is left to say."""
        last = self._finish() if self._line_bytes else []
        if self._skipping:
            self._left_out_lines += 1
        return last + self._tell()

    def _tell(self) -> list[Said]:
        lines, size = self._left_out_lines, self._left_out_bytes
        self._left_out_lines = self._left_out_bytes = 0
        if not size:
            return []
        return [Said(f"… {lines:,} {'line' if lines == 1 else 'lines'} left out ({size:,} bytes)", lines, size)]

    def _extend(self, data: bytes) -> None:
        """A piece of a line; beyond what is logged of a line it is only counted."""
        self._line_bytes += len(data)
        room = MOST_LINE_BYTES - len(self._line)
        if room > 0:
            self._line += data[:room]

    def _finish(self) -> list[Said]:
        text, more = _text(self._line), self._line_bytes - len(self._line)
        self._lines -= 1
        self._bytes -= len(self._line)
        self._line.clear()
        self._line_bytes = 0
        if more:
            text += f" … {more:,} bytes of this line left out"
        return [Said(text)] if text else []

    def _leave_out(self, data: bytes) -> None:
        """Only count. The end of a line that is left out is left out, too, when there is room again."""
        if self._line_bytes:
            self._left_out_bytes += self._line_bytes
            self._line.clear()
            self._line_bytes = 0
        self._left_out_lines += data.count(b"\n")
        self._left_out_bytes += len(data)
        self._skipping = not data.endswith(b"\n")


def _text(line: bytes | bytearray) -> str:
    return line.decode(errors="replace").rstrip()
