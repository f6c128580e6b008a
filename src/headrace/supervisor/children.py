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

from headrace.supervisor.output import OutputPipe
from headrace.telemetry.logs import Log


class Child:
    """One process of ours. It runs in a session of its own, so that Ctrl-C on the terminal reaches only us."""

    def __init__(self, process: asyncio.subprocess.Process, output: OutputPipe) -> None:
        self._process = process
        self._output = output
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

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens to a process that has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL after `grace_s`; returns the exit code. Cancelling kills at once."""
        self.signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            code = await self.wait()
        except asyncio.CancelledError:
            self.signal(signal.SIGKILL)
            raise
        self._output.close()
        return code


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
        undo.callback(child.signal, signal.SIGKILL)
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        undo.pop_all()
    return child, reader, writer


def describe_exit(code: int | None) -> str:
    """An exit code in words: ``killed by SIGKILL (out of memory?)``, ``exit code 1``."""
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"killed by signal {-code}"
