"""Who ended a process, and why: a guess only where nobody tells."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from headrace.supervisor.processes.endings import Ending, oom_kills


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({"cgroup/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", "proc/vmstat": "oom_kill 9\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "cgroup/a/b/memory.events": "oom_kill 4\n"}, 4),
        ({"proc/self/cgroup": "4:memory:/c\n0::/\n", "cgroup/memory/c/memory.oom_control": "oom_kill 5\n"}, 5),
        ({"proc/self/cgroup": "4:memory:/c\n0::/\n", "cgroup/memory/memory.oom_control": "oom_kill 6\n"}, 6),
        ({"cgroup/memory.events": "oom_kill many\n", "proc/vmstat": "nr_free 1\noom_kill 7\n"}, 7),
        ({"proc/self/cgroup": "nonsense", "proc/vmstat": "nr_free 1\n"}, None),
        ({}, None),
    ],
    ids=["v2", "v2 below", "v1", "v1 in a container", "machine", "no count", "nothing"],
)
def test_the_kernel_tells_what_it_killed_for_memory(tmp_path: Path, files: dict[str, str], kills: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path / "cgroup", tmp_path / "proc") == kills


def ended(code: int, *, why: str = "", before: int | None, after: int | None, at: Path) -> str:
    at.mkdir(exist_ok=True)

    def count(kills: int | None) -> None:
        (at / "vmstat").write_text("" if kills is None else f"oom_kill {kills}\n")

    count(before)
    ending = Ending(lambda: oom_kills(at, at))
    if why:
        ending.blame(why)
        ending.blame("a second reason")
    count(after)
    return ending.describe(code)


KILLED = -signal.SIGKILL


def test_an_ending_in_words(tmp_path: Path) -> None:
    assert ended(0, before=0, after=0, at=tmp_path) == "ended with exit code 0"
    assert ended(3, why="it hung", before=0, after=0, at=tmp_path) == "ended with exit code 3"
    assert ended(KILLED, why="it hung", before=0, after=1, at=tmp_path) == "killed by headrace: it hung"
    assert ended(-signal.SIGTERM, why="it stops", before=0, after=0, at=tmp_path) == "killed by headrace: it stops"
    assert ended(KILLED, before=1, after=2, at=tmp_path) == "killed by SIGKILL: out of memory"
    assert ended(KILLED, before=1, after=1, at=tmp_path) == "killed by SIGKILL from outside, and not for want of memory"
    assert ended(KILLED, before=None, after=None, at=tmp_path) == "killed by SIGKILL (out of memory?)"
    assert ended(-signal.SIGSEGV, before=0, after=0, at=tmp_path) == "killed by SIGSEGV"
    assert ended(-64, before=0, after=0, at=tmp_path) in {"killed by signal 64", "killed by SIGRTMAX"}
