"""What a worker process and its supervisor say to each other: one JSON object a line, over a Unix socket.

A worker says ``hello`` (who it is), then what happens to it (``loaded``, ``failed``, ``exited``, ``ready``); the
supervisor answers with commands (``load``, ``fork``, ``serve``) and asks now and then whether the process is still
there (``ping``, answered with ``pong``). The end of the connection is the end of the process for the one side, and of
the supervisor for the other. The supervisor knows what may be said when (see
``headrace/core/protocol/worker_events.py``), and ends a process that says anything else.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Dict, List  # noqa: UP035 - runs on Python 3.9

_MAX_LINE_BYTES = 16 * 1024 * 1024


class Control:
    """One worker process's connection to its supervisor."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._buffer = b""

    def fileno(self) -> int:
        """For select(): readable when a command may be there, or the supervisor is gone."""
        return self._socket.fileno()

    def say(self, event: str, **facts: Any) -> None:
        """Send one event. Blocks until it is written; raises OSError when the supervisor is gone."""
        self._socket.sendall(json.dumps({"event": event, **facts}, default=str).encode() + b"\n")

    def receive(self) -> List[Dict[str, Any]]:  # noqa: UP006
        """Wait for bytes and return the commands that are whole now; raises EOFError when the supervisor is gone."""
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the supervisor closed the control connection")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_LINE_BYTES:
            raise EOFError("the supervisor sent a line without end")
        return [json.loads(line) for line in lines if line]

    def close(self) -> None:
        """Close this process's end."""
        self._socket.close()
