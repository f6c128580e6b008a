"""A process that another one of ours has forked, and that the kernel made our child: its parent has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

_UNKNOWN = 255
"""The exit code of a process that somebody else has waited for; asyncio says the same."""


class Adopted:
    """What `asyncio.subprocess.Process` is to a process that we have started. `returncode` is None while it runs."""

    def __init__(self, pid: int) -> None:
        """Take over a child; raises OSError (ChildProcessError, ProcessLookupError) where it is none of ours."""
        self.pid = pid
        self.returncode: int | None = None
        self._fd = os.pidfd_open(pid)
        try:
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            os.close(self._fd)
            raise
        self._over = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._ended)

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        await self._over.wait()
        return _UNKNOWN if self.returncode is None else self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and no later process with its id; raises ProcessLookupError where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        signal.pidfd_send_signal(self._fd, number)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self.returncode = _UNKNOWN
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status)
        os.close(self._fd)
        self._over.set()
