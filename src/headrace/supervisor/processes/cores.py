"""The processor cores and the memory that headrace may use: those of the machine, or of the container."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = _CGROUP) -> int:
    """At least one. A limit of 1.5 CPUs counts as two cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _limit(cgroup)
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def available_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """The machine's memory, or the control group's limit (cgroup v2, or v1) where that is lower."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(machine_bytes, int((cgroup / name).read_text()))
    return machine_bytes


def request_memory_bytes(gateways: int, cgroup: Path = _CGROUP) -> int:
    """What each of so many gateways may hold of requests unless the configuration says: a quarter of memory in all."""
    return available_memory_bytes(cgroup) // 4 // gateways


def _limit(cgroup: Path) -> float | None:
    """The CPU limit of the control group, in cores (cgroup v2, or v1); None: there is none, or it cannot be seen."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        us = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        return us / int((cgroup / "cpu" / "cpu.cfs_period_us").read_text()) if us > 0 else None
    return None
