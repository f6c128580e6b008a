"""What each process of headrace takes of the machine: CPU time and memory, as Linux' /proc has it.

Where there is no /proc there are no numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from headrace.core.totals import Sample, Totals

_PROC = Path("/proc")
_PSS_EVERY_S = 10.0


class Process(NamedTuple):
    """One process and what it is: `number` counts those of the same role and version."""

    pid: int
    role: str
    number: int = 0
    model: str = ""
    version: str = ""


@dataclass
class _Memory:
    """The proportional share of a process's memory: its kernel walks all its pages to tell, so we ask seldom."""

    pss_bytes: int | None
    read_s: float


@dataclass
class Usage:
    """Reads what processes take, and adds up the CPU time of those that follow one another in the same place."""

    totals: Totals = field(default_factory=Totals)
    _memory: dict[tuple[int, int], _Memory] = field(default_factory=dict)

    def samples(self, processes: Iterable[Process]) -> list[Sample]:
        """The newest numbers. Blocks for about 0.1 ms a process, and a few more where its PSS is read anew."""
        living = set()
        for process in processes:
            stat = _stat(process.pid)
            if stat is not None:
                source = (process.pid, stat.started_ticks)
                living.add(source)
                self.totals.feed(source, self._of(process, stat))
        for gone in self.totals.sources - living:
            self.totals.forget(gone)
        self._memory = {source: memory for source, memory in self._memory.items() if source in living}
        return self.totals.samples()

    def _of(self, process: Process, stat: _Stat) -> Iterator[Sample]:
        about = (("model", process.model), ("version", process.version)) if process.model else ()
        labels = (("role", process.role), *about, ("index", str(process.number)))
        yield "headrace_process_cpu_seconds_total", labels, stat.cpu_s
        yield "headrace_process_resident_memory_bytes", labels, stat.rss_bytes
        now_s, source = time.monotonic(), (process.pid, stat.started_ticks)
        memory = self._memory.get(source)
        if memory is None or now_s - memory.read_s >= _PSS_EVERY_S:
            memory = self._memory[source] = _Memory(_pss_bytes(process.pid), now_s)
        if memory.pss_bytes is not None:
            yield "headrace_process_proportional_memory_bytes", labels, memory.pss_bytes


class _Stat(NamedTuple):
    started_ticks: int
    cpu_s: float
    rss_bytes: int


def _stat(pid: int) -> _Stat | None:
    """The line of /proc/PID/stat (proc(5)); None for a process that is gone, or only waits to be collected."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name, in brackets, may hold anything: what follows the last bracket is fields 3 and on.
    state, *numbers = text.rpartition(b")")[2].split()
    if state == b"Z":
        return None
    user, system, started, pages = (int(numbers[field - 4]) for field in (14, 15, 22, 24))
    cpu_s = (user + system) / os.sysconf("SC_CLK_TCK")
    return _Stat(started, cpu_s, pages * os.sysconf("SC_PAGE_SIZE"))


def _pss_bytes(pid: int) -> int | None:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # gone, or a kernel or a container that does not tell
        pass
    return None
