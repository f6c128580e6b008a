"""A server under test: started in a session of its own, watched through /proc, ended with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")


class Running:
    """A process tree."""

    def __init__(self, command: Sequence[str], *, log: Path, environ: Mapping[str, str], directory: Path) -> None:
        self.started_s = time.monotonic()
        self._log = log.open("wb")
        self.process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, **environ}, cwd=directory, start_new_session=True,
        )  # fmt: skip

    def tree(self) -> list[psutil.Process]:
        """The process and all its descendants, those that live."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """CPU time of the tree so far, ended children that were waited for included."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(f) for f in fields[11:15])
        return total / _TICKS

    def pss_mb(self) -> float:
        """Memory of the tree, shared pages counted once (proportional set size)."""
        return sum(pss_mb(process.pid) for process in self.tree())

    def stop(self) -> None:
        """End it: SIGTERM, and after ten seconds SIGKILL for whatever is left."""
        family = self.tree()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    process.send_signal(signal.SIGKILL)
        for process in psutil.process_iter():  # what lost its parent before it was looked at
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self.process.pid:
                    process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=5)
        self._log.close()


def pss_mb(pid: int) -> float:
    """Proportional set size of one process; 0 for one that is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
