"""Becomes a command that gets SIGTERM when the thread that started it is gone: ``python tied.py COMMAND ...``.

A node's actor that is killed thereby ends its headrace in order, and its successor can take the ports.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Become `command`; end at once where `parent` has gone before the kernel knew of us."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
