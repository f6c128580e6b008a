"""Connections that are open and ask nothing."""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import Self


class IdleConnections:
    """So many of them, held from one process; each comes from an address of its own range of 127.0.0.0/8."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for number in range(self._count):
            one = socket.socket()
            one.settimeout(20)
            one.bind((f"127.0.1.{number // 4000 + 1}", 0))
            one.connect(("127.0.0.1", self._port))
            self._open.append(one)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.close()
