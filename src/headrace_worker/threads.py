"""Whether a process can be forked: a fork has the thread that forks, and loses all others."""

from __future__ import annotations

import os
import sys
import threading
from typing import List  # noqa: UP035 - runs on Python 3.8

# Threads of libraries that stop them before a fork and start them again after it (pthread_atfork), by their names.
_FORK_AWARE = {"jemalloc_bg_thd"}


def lost_by_fork() -> List[str]:  # noqa: UP006
    """The names of this process's threads that a fork would lose, other than the one that forks."""
    names = []
    try:
        for thread in os.listdir("/proc/self/task"):
            if int(thread) != os.getpid():
                with open(f"/proc/self/task/{thread}/comm") as file:
                    names.append(file.read().strip())
    except OSError:
        return [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    return [name for name in names if name not in _FORK_AWARE]


def forkable() -> bool:
    """Whether a fork copies everything that runs: only Linux tells, and only one thread is sure."""
    return sys.platform == "linux" and not lost_by_fork() and threading.active_count() == 1
