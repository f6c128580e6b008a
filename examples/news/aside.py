"""Models that are made at the same time, each in a process of its own: learning keeps one core busy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

from news.errors import NewsError
from news.quiet import prepare, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from news.progress import Progress
    from news.recipes import Trained

BEGUN: Final = "begun"
ENDED: Final = "ended"
FAILED: Final = "failed"
MADE: Final = "made"


def make(names: Sequence[str], cache_dir: Path, progress: Progress) -> Iterator[tuple[str, Trained]]:
    """Yield each name with its trained model, in the order of `names`; as many are made at once as there are cores.

    Raises NewsError where one cannot be made. Closing it, or an exception, ends all that are being made.
    """
    waiting, made = deque(names), dict[str, "Trained"]()
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    left = deque(names)
    try:
        while left:
            while waiting and len(running) < _cores():
                name = waiting.popleft()
                channel, process = _start(name, cache_dir)
                running[channel] = name, process
            ready = wait(list(running))
            for channel in [one for one in running if one in ready]:
                name, process = running[channel]
                trained = _hear(channel, name, process, progress)
                if trained is not None:
                    made[name] = trained
                    del running[channel]
                    process.join()
            while left and left[0] in made:
                yield left[0], made.pop(left.popleft())
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(name: str, cache_dir: Path) -> tuple[Connection, BaseProcess]:
    # Not forked: what numerical libraries have started by then does not survive that.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_make, args=(theirs, name, cache_dir), name=f"making {name}", daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _hear(channel: Connection, name: str, process: BaseProcess, progress: Progress) -> Trained | None:
    """Take one message; returns the model with the last one."""
    try:
        word, *told = channel.recv()
    except EOFError:
        process.join()
        how = f"exit code {process.exitcode}" if (process.exitcode or 0) >= 0 else f"signal {-(process.exitcode or 0)}"
        hint = "; is there enough memory?" if process.exitcode == -signal.SIGKILL else ""
        raise NewsError(f"{name} could not be made: its process ended with {how}{hint}") from None
    if word == BEGUN:
        progress.begun(*told)
    elif word == ENDED:
        progress.ended(*told)
    elif word == FAILED:
        raise NewsError(*told)
    return told[0] if word == MADE else None


class _Told:
    """The steps of another process, told by a channel."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._channel.send((BEGUN, title))
        begun_s = time.monotonic()
        yield
        self._channel.send((ENDED, title, time.monotonic() - begun_s))


def _make(channel: Connection, name: str, cache_dir: Path) -> None:
    """What the process does. A Ctrl-C is for the one that has started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    last: tuple[str, Any]
    try:
        with quiet():
            from news.recipes import RECIPES  # noqa: PLC0415 - seconds of imports

            last = MADE, RECIPES[name](cache_dir, _Told(channel))
    except NewsError as error:
        last = FAILED, str(error)
    channel.send(last)
