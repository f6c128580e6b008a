"""The Unix socket on which worker processes report to the supervisor, and the one pipe that keeps them alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from headrace.core.worker_events import Conversation, Event, Hello, ProtocolError
from headrace.supervisor.orphans import collect_orphans
from headrace.telemetry.logs import Log

_BLOCK_BYTES = 64 * 1024


class Reporter:
    """One worker process's control connection, as the supervisor holds it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hello: Hello
        self.pid = 0
        self._reader = reader
        self._writer = writer
        self._conversation = Conversation()
        self._first: list[Event] = []
        self._pidfd: int | None = None

    async def meet(self) -> bool:
        """Wait for its hello; False where it leaves before. Raises ProtocolError for anything else."""
        while not self._first:
            data = await self._read()
            if not data:
                return False
            self._first = self._conversation.feed(data)
        hello = self._first.pop(0)
        if not isinstance(hello, Hello):
            raise ProtocolError("it did not say hello")
        self.hello, self.pid = hello, hello.pid
        self._pidfd = _pidfd(self.pid)
        return True

    async def events(self) -> AsyncIterator[Event]:
        """What it says, until the connection ends; raises ProtocolError for what it must not say."""
        for event in self._first:
            yield event
        while data := await self._read():
            for event in self._conversation.feed(data):
                yield event

    def load(self, path: str, options: Mapping[str, Any]) -> None:
        """Have a host load the model. As all commands, lost without an error when the process is gone."""
        self._command("load", path=path, options=dict(options))

    def fork(self, replica: str, socket: str) -> None:
        """Have a host fork a replica, which connects by itself."""
        self._conversation.forked(replica)
        self._command("fork", replica=replica, socket=socket)

    def serve(self, replica: str, socket: str) -> None:
        """Have a host become a replica itself."""
        self._conversation.serves()
        self._command("serve", replica=replica, socket=socket)

    def ping(self) -> None:
        """Ask whether it is there."""
        self._conversation.pinged()
        self._command("ping")

    def kill(self) -> None:
        """Send SIGKILL to this process and no other, even if its id has been given to another one since."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    async def ended(self, within_s: float) -> bool:
        """Whether the process ends in that time; where the kernel does not tell, it is taken to."""
        if self._pidfd is None:
            return True
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        loop.add_reader(self._pidfd, end.set)
        try:
            await asyncio.wait_for(end.wait(), within_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._pidfd)
        return True

    def close(self) -> None:
        """Let go of the connection and of the process's handle."""
        self._writer.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _command(self, command: str, **arguments: Any) -> None:
        self._writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_BLOCK_BYTES)
        except OSError:
            return b""


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

    async def open(self, greet: Callable[[Reporter], Awaitable[None]], log: Log) -> None:
        """Accept worker processes; `greet` has each one until its connection ends."""

        async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reporter = Reporter(reader, writer)
            try:
                if await reporter.meet():
                    await greet(reporter)
            except ProtocolError as error:
                log.warning("control connection refused", reason=str(error))
            except Exception as error:
                log.exception("a worker could not be followed", exc_info=error, pid=reporter.pid)
                reporter.kill()
            finally:
                reporter.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(host(reader, writer))
            self._guests.add(task)
            task.add_done_callback(self._guests.discard)

        self._reaper = asyncio.create_task(collect_orphans())
        self._server = await asyncio.start_unix_server(accept, self.path, limit=_BLOCK_BYTES)

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
