"""Describes how a child process ended: by itself, by headrace and why, by the kernel (out of memory), or by others."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def oom_kills(cgroup: Path = _CGROUP, proc: Path = _PROC) -> int | None:
    """How many processes of our control group the kernel has killed for want of memory; None: it does not tell.

    Where there is no control group with such a count, it is the machine's.
    """
    ours = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            ours[controllers] = path.lstrip("/")
    for file in (
        cgroup / ours.get("", "") / "memory.events",  # v2
        cgroup / "memory" / ours.get("memory", "") / "memory.oom_control",  # v1
        cgroup / "memory" / "memory.oom_control",  # v1 in a container, which sees its own group at the top
        proc / "vmstat",
    ):
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return None


class Ending:
    """Of one process, made when it is started. `why` headrace killed it; empty: it has not."""

    def __init__(self, count: Callable[[], int | None] = oom_kills) -> None:
        self.why = ""
        self._count = count
        self._before = count()

    def blame(self, why: str) -> None:
        """Headrace kills the process now, for this reason; the first one counts."""
        self.why = self.why or why

    def describe(self, code: int) -> str:
        """``killed by headrace: ...``, ``killed by SIGKILL: out of memory``, ``ended with exit code 1``."""
        if code >= 0:
            return f"ended with exit code {code}"
        if self.why:
            return f"killed by headrace: {self.why}"
        if code == -signal.SIGKILL:
            return f"killed by SIGKILL{self._for_memory()}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def _for_memory(self) -> str:
        now = self._count()
        if now is None or self._before is None:
            return " (out of memory?)"
        return ": out of memory" if now > self._before else " from outside, and not for want of memory"
