"""Collects processes that became our children because their parent ended: the supervisor is their subreaper.

They are replicas whose host died, what a model's code left behind and, where headrace is a container's process 1,
everything else in it. Linux only; elsewhere they are init's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from pathlib import Path

_PAUSE_S = 1.0
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

Ended = tuple[int, str]  # a process id, and when that process was started


def become_subreaper() -> None:
    """Have orphans of our hosts (the replicas they forked) become our children. Linux only; elsewhere init's."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def collect_orphans() -> None:
    """Collect what nobody else does, until cancelled.

    Our own children are waited for by those who started them, within one turn of the event loop after they end: what is
    still there a second later belongs to nobody.
    """
    before: set[Ended] = set()
    while True:
        await asyncio.sleep(_PAUSE_S)
        before = sweep(before)


def sweep(before: set[Ended]) -> set[Ended]:
    """Collect those of `before` that are still there; returns the others that have ended."""
    ended = _ended()
    for pid, _ in ended & before:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return ended - before


def _ended() -> set[Ended]:
    """Our children that have ended and that nobody has waited for."""
    found = set()
    with contextlib.suppress(OSError):  # no /proc, or a thread that ended between the two steps
        for listed in Path("/proc/self/task").glob("*/children"):
            for pid in listed.read_text().split():
                with contextlib.suppress(OSError):
                    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
                    if fields[0] == "Z":
                        found.add((int(pid), fields[19]))
    return found
