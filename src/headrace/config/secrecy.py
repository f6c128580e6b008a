"""Keeps the memory and the environment of headrace's own processes from models, which run under the same user."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4  # prctl(2)


def make_undumpable() -> None:
    """Have the kernel refuse others of our user our memory and /proc/PID/environ, and write no core dump of us.

    Only a process with CAP_SYS_PTRACE may trace us then (py-spy as root). It holds for what we fork, and not for what
    we start; here only on Linux.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
