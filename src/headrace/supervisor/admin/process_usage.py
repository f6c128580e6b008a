"""CPU time and memory of each process of headrace, from /proc of Linux.

Without /proc there are no figures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from headrace.core.telemetry.totals import Sample, Totals

_PROC = Path("/proc")
_PSS_EVERY_S = 60.0


class Process(NamedTuple):
    """One process; `number` counts those of the same role and version."""

    pid: int
    role: str
    number: int = 0
    model: str = ""
    version: str = ""


Source = tuple[int, int]
"""One life of a process: its id and when it was started, for ids are used again."""


@dataclass
class Usage:
    """Reads the usage of processes, and adds up the CPU time of processes that replaced each other."""

    totals: Totals = field(default_factory=Totals)
    _pss_bytes: dict[Source, tuple[int | None, float]] = field(default_factory=dict)

    def samples(self, processes: Iterable[Process]) -> list[Sample]:
        """The newest figures; PSS as last measured. Blocks for about 50 us a process."""
        living = set()
        for process in processes:
            stat = _stat(process.pid)
            if stat is not None:
                source = (process.pid, stat.started_ticks)
                living.add(source)
                self._pss_bytes.setdefault(source, (None, -_PSS_EVERY_S))
                self.totals.feed(source, self._of(process, stat))
        for gone in self.totals.sources - living:
            self.totals.forget(gone)
        self._pss_bytes = {source: found for source, found in self._pss_bytes.items() if source in living}
        return self.totals.samples()

    def due(self, now_s: float) -> list[Source]:
        """The processes whose PSS should be read now (`weigh`), and the result be `keep`t."""
        return [source for source, (_, read_s) in self._pss_bytes.items() if now_s - read_s >= _PSS_EVERY_S]

    def keep(self, weighed: Mapping[Source, int | None], now_s: float) -> None:
        """Take what `weigh` has found."""
        self._pss_bytes |= {source: (found, now_s) for source, found in weighed.items() if source in self._pss_bytes}

    def _of(self, process: Process, stat: _Stat) -> Iterator[Sample]:
        about = (("model", process.model), ("version", process.version)) if process.model else ()
        labels = (("role", process.role), *about, ("index", str(process.number)))
        yield "headrace_process_cpu_seconds_total", labels, stat.cpu_s
        yield "headrace_process_resident_memory_bytes", labels, stat.rss_bytes
        pss_bytes, _ = self._pss_bytes[process.pid, stat.started_ticks]
        if pss_bytes is not None:
            yield "headrace_process_proportional_memory_bytes", labels, pss_bytes


def describe(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """Each running process as data: its role, its start (`since`, Unix seconds) and its usage. Reads /proc."""
    booted_s, told = _booted_s(), []
    for process in processes:
        stat = _stat(process.pid)
        if stat is not None:
            since_s = booted_s + stat.started_ticks / os.sysconf("SC_CLK_TCK")
            told.append(
                {
                    "role": "agent" if process.role == "registry" else process.role,
                    "pid": process.pid,
                    "since": round(since_s, 2),
                    "model": process.model or None,
                    "version": process.version or None,
                    "memory_bytes": stat.rss_bytes,
                    "cpu_s": stat.cpu_s,
                }
            )
    return told


def weigh(sources: Iterable[Source]) -> dict[Source, int | None]:
    """The proportional set size (PSS) of each process. Blocks: the kernel walks all pages, about 10 ms for 500 MB."""
    return {source: proportional_bytes(source[0]) for source in sources}


def _booted_s() -> float:
    """When the machine was started, in Unix seconds of its present clock; 0 if it is not known."""
    try:
        lines = (_PROC / "stat").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)


class _Stat(NamedTuple):
    started_ticks: int
    cpu_s: float
    rss_bytes: int


def _stat(pid: int) -> _Stat | None:
    """The line of /proc/PID/stat (proc(5)); None if the process has ended or is a zombie."""
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


def proportional_bytes(pid: int) -> int | None:
    """The PSS of a process; None if it has ended or may not be read. Blocks as `weigh` does."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # gone, or a kernel or a container that does not tell
        pass
    return None
