"""Starts a child process, passes its output on to the log, and knows when it ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.supervisor.processes.adopted import Adopted
from headrace.supervisor.processes.endings import Ending
from headrace.supervisor.processes.output import OutputPipe
from headrace.telemetry.logs import Log


class Child:
    """One process of ours. It runs in a session of its own, so that Ctrl-C on the terminal reaches only us."""

    def __init__(self, process: asyncio.subprocess.Process | Adopted, output: OutputPipe) -> None:
        self._process = process
        self._output = output
        self.ending = Ending()
        self.started_s = time.monotonic()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        log: Log,
        pass_fds: Sequence[int] = (),
        environ: Mapping[str, str],
        directory: Path | None = None,
    ) -> Child:
        """Start `command` in `directory` (None: ours); raises OSError when it cannot be run. It has no input."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                env=dict(environ),
                cwd=directory,
                start_new_session=True,
            )
        except BaseException as error:
            os.close(reading)
            if isinstance(error, RuntimeError):  # asyncio waits for a child in a thread, and could not start one
                raise OSError(errno.EAGAIN, str(error)) from error
            raise
        finally:
            os.close(writing)
        return cls(process, OutputPipe(reading, log))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def last_lines(self) -> list[str]:
        """The newest lines of its output."""
        return self._output.last_lines

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal. Cancelling leaves the process alone."""
        return await self._process.wait()

    def kill(self, why: str) -> None:
        """Kill it for that reason, which `describe` tells; nothing happens to a process that has ended."""
        self._send(signal.SIGKILL, why)

    async def stop(self, grace_s: float, why: str) -> int:
        """SIGTERM, and SIGKILL after `grace_s`; returns the exit code. Cancelling kills at once."""
        self._send(signal.SIGTERM, why)
        try:
            async with asyncio.timeout(grace_s):
                code = await self.wait()
        except TimeoutError:
            self.kill(why)
            code = await self.wait()
        except asyncio.CancelledError:
            self.kill(why)
            raise
        self._output.close()
        return code

    def describe(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        return "runs" if code is None else self.ending.describe(code)

    def _send(self, number: signal.Signals, why: str) -> None:
        if self.running:
            self.ending.blame(why)
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def start_controlled(
    module: str,
    arguments: Sequence[str] = (),
    *,
    log: Log,
    pass_fds: Sequence[int] = (),
    environ: Mapping[str, str],
) -> tuple[Child, asyncio.StreamReader, asyncio.StreamWriter]:
    """Start ``python -m MODULE --control-fd N ARGUMENTS``; N is the other end of what is returned.

    Raises OSError when that cannot be done; then nothing is left open or running.
    """
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-m", module, "--control-fd", str(fd), *arguments]
            child = await Child.start(command, log=log, pass_fds=[fd, *pass_fds], environ=environ)
        undo.callback(child.kill, "its channel could not be opened")
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        undo.pop_all()
    return child, reader, writer
