"""The process at the other end of a Unix socket, as the kernel reports it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from typing import NamedTuple

_SO_PEERPIDFD = 77  # Linux 6.5
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # macOS


class Peer(NamedTuple):
    """The process that connected, and its user. `pidfd` stands for this process and no later one; None: unknown here.

    The caller closes `pidfd`.
    """

    pid: int
    uid: int
    pidfd: int | None

    @classmethod
    def of(cls, writer: asyncio.StreamWriter) -> Peer:
        """Ask the kernel; raises OSError where it does not tell."""
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as one:
            if sys.platform == "linux":
                pid, uid, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            else:
                pid = one.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
                _, uid = struct.unpack_from("II", one.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76))
            if pid <= 0:
                raise OSError("it is in another process namespace")
            return cls(pid, uid, _pidfd(one, pid))


def _pidfd(one: socket.socket, pid: int) -> int | None:
    try:
        return one.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        pass
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
