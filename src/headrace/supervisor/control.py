"""The Unix socket on which worker processes report to the supervisor, and the one pipe that keeps them alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headrace.core.escaping import loads_encodable
from headrace.supervisor.orphans import collect_orphans

Event = dict[str, Any]

_LINE_BYTES = 16 * 1024 * 1024


class Reporter:
    """One worker process's control connection, as the supervisor holds it."""

    def __init__(self, hello: Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hello = hello
        self.pid: int = hello["pid"]
        self._reader = reader
        self._writer = writer
        self._pidfd = _pidfd(self.pid)

    async def events(self) -> Event | None:
        """The next event; None when the process is gone."""
        try:
            line = await self._reader.readline()
            return loads_encodable(line) if line else None
        except (OSError, ValueError):
            return None

    def command(self, command: str, **arguments: Any) -> None:
        """Tell the process what to do; lost without an error when it is gone (its end is reported anyway)."""
        self._writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to this process and no other, even if its id has been given to another one since."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def close(self) -> None:
        """Let go of the connection and of the process's handle."""
        self._writer.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class ControlRoom:
    """The run directory (0700), its control socket, and the lifeline. One for each supervisor."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="headrace-"))
        self.path = str(self.directory / "control.sock")
        # Where model code runs: what it writes where it stands (MLflow's traces, for one) goes away with us.
        self.workplace = self.directory / "work"
        self.workplace.mkdir()
        self.lifeline_fd, self._lifeline_held = os.pipe()
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    async def open(self, greet: Callable[[Reporter], Awaitable[None]]) -> None:
        """Accept worker processes; `greet` has each one until its connection ends."""

        async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                line = await reader.readline()
                hello = loads_encodable(line) if line else None
            except (OSError, ValueError):
                hello = None
            if not isinstance(hello, dict) or not isinstance(hello.get("pid"), int):
                writer.close()
                return
            reporter = Reporter(hello, reader, writer)
            try:
                await greet(reporter)
            finally:
                reporter.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(host(reader, writer))
            self._guests.add(task)
            task.add_done_callback(self._guests.discard)

        self._reaper = asyncio.create_task(collect_orphans())
        self._server = await asyncio.start_unix_server(accept, self.path, limit=_LINE_BYTES)

    async def close(self) -> None:
        """Cut the lifeline (whatever still runs ends now) and remove the directory."""
        if self._server:
            self._server.close()
        last = [*self._guests, *([self._reaper] if self._reaper else [])]
        for task in last:
            task.cancel()
        await asyncio.gather(*last, return_exceptions=True)
        os.close(self._lifeline_held)
        os.close(self.lifeline_fd)
        shutil.rmtree(self.directory, ignore_errors=True)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
