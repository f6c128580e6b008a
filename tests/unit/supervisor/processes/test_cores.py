import os
from pathlib import Path

import pytest

from headrace.supervisor.processes.cores import available_cores, available_memory_bytes, request_memory_bytes

MACHINE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, MACHINE),
        ({"cpu.max": "max 100000\n"}, MACHINE),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, min(2, MACHINE)),
        ({"cpu.max": "9900000 100000\n"}, min(99, MACHINE)),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, MACHINE),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "nonsense"}, MACHINE),
    ],
)
def test_the_smaller_of_machine_and_limit(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == cores


MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("files", "memory_bytes"),
    [
        ({}, MEMORY_BYTES),
        ({"memory.max": "max\n"}, MEMORY_BYTES),
        ({"memory.max": "536870912\n"}, 536_870_912),
        ({"memory/memory.limit_in_bytes": "536870912\n"}, 536_870_912),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MEMORY_BYTES),
        ({"memory.max": "nonsense"}, MEMORY_BYTES),
    ],
)
def test_memory_is_the_machines_or_the_limit(tmp_path: Path, files: dict[str, str], memory_bytes: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory_bytes(tmp_path) == memory_bytes
    assert request_memory_bytes(2, tmp_path) == memory_bytes // 4 // 2
