"""Tells the processes of one model apart in ``ps``: a forked replica shows what it is, not what it was forked from."""

from __future__ import annotations

import ctypes
import sys

PREFIX = "role="


def set_title(role: str) -> None:
    """Write ``role=<role>`` over the last argument of this process's command line, cut or padded to its length.

    That argument must begin with ``role=`` (the supervisor makes it, with room to spare). Best effort: where /proc
    is not Linux's, the command line stays what it was.
    """
    room = len(sys.argv[-1].encode())
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start = int(fields[46]) - room - 1  # arg_end: field 49 of proc(5); the fields here begin with the third
        if ctypes.string_at(start, len(PREFIX)) == PREFIX.encode():
            ctypes.memmove(start, (PREFIX + role).encode()[:room].ljust(room), room)
    except (OSError, ValueError, IndexError):
        return
