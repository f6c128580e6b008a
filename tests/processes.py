"""Processes that tests look at while they come and go: one that has ended in between is no error."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable

import psutil


def tied(command: list[str]) -> list[str]:
    """The command of a process that the kernel ends with the one that starts it: a run that is killed leaves none.

    By util-linux's `setpriv`, for what Popen could run in the child would have it fork all of pytest's memory.
    """
    return ["setpriv", "--pdeathsig", "TERM", *command] if shutil.which("setpriv") else command


def family(pid: int) -> list[psutil.Process]:
    """Every process below `pid` that is alive now; none where that one has ended."""
    with contextlib.suppress(psutil.Error):
        return alive(psutil.Process(pid).children(recursive=True))
    return []


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run: zombies, which only wait to be collected, are left out."""
    return [one for one in processes if status(one) not in {None, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}]


def status(process: psutil.Process) -> str | None:
    """What the kernel says of it; None where it has ended."""
    try:
        return str(process.status())
    except psutil.Error:
        return None


def command(process: psutil.Process) -> str:
    """Its command line as one text; empty where it has ended, or is a zombie."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
