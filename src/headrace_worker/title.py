"""Tells the processes of one model apart in ``ps``: a fork shows what it is, not what it was forked from."""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any, Dict  # noqa: UP035 - runs on Python 3.8

PREFIX = "role="


def set_title(role: str) -> None:
    """Write ``role=<role>`` over the last argument of this process's command line, cut or padded to its length.

    That argument must begin with ``role=`` (the supervisor makes it, with room to spare). Best effort: where /proc
    is not Linux's, the command line stays what it was.
    """
    _write(PREFIX + role, before=PREFIX, room=_bytes(sys.argv[-1]), behind=0)


def set_command(told: Dict[str, Any], role: str) -> None:  # noqa: UP006
    """As `set_title`, and the argument before it, a JSON object, becomes ``told``."""
    room, behind = _bytes(sys.argv[-2]), _bytes(sys.argv[-1])
    _write(json.dumps(told), before="{", room=room, behind=behind + 1)
    sys.argv[-2:] = [json.dumps(told), (PREFIX + role).ljust(behind)]
    set_title(role)


def _bytes(text: str) -> int:
    return len(text.encode())


def _write(text: str, *, before: str, room: int, behind: int) -> None:
    """Write over the `room` bytes that begin with `before` and have `behind` bytes of arguments behind them."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start = (
            int(fields[46]) - behind - room - 1
        )  # arg_end: field 49 of proc(5); the fields here begin with the third
        if ctypes.string_at(start, len(before)) == before.encode():
            ctypes.memmove(start, text.encode()[:room].ljust(room), room)
    except (OSError, ValueError, IndexError):
        return
