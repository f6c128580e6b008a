"""Reads what a process prints, a block at a time, and logs what `core.processes.output` lets through."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from headrace.core.processes.output import Output, Said
from headrace.telemetry.logs import Log

_BLOCK_BYTES = 64 * 1024
_BLOCKS_A_SECOND = 128
"""8 MiB: a process that prints more has to wait, and it alone."""

_LAST_BLOCKS = 2


class OutputPipe:
    """The reading end of a process's output, which it owns. In one turn of the loop it reads one block at most."""

    def __init__(self, fd: int, log: Log) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._log = log
        self._output = Output(time.monotonic())
        self._rest = b""
        self._closing = False
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def last_lines(self) -> list[str]:
        """The newest lines, logged or not. Reads what is there: of a process that has ended, its last words."""
        with contextlib.suppress(OSError):
            if not self._task.done():
                self._read()
        return self._output.last_lines

    def close(self) -> None:
        """Take what is there, a block or two, and read no more, even if a process still has the other end."""
        self._closing = True
        self._came.set()

    async def _run(self) -> None:
        try:
            blocks, since_s, last, more = 0, time.monotonic(), 0, True
            while more and last < _LAST_BLOCKS:
                await self._until_readable()
                last += self._closing
                with contextlib.suppress(BlockingIOError):  # `last_lines` has read it, or nothing more is there
                    more = self._read()
                while self._rest:
                    said, self._rest = self._output.take(self._rest, time.monotonic())
                    self._say(said)
                    await asyncio.sleep(0)
                blocks += 1
                if blocks == _BLOCKS_A_SECOND:
                    await asyncio.sleep(since_s + 1.0 - time.monotonic())
                    blocks, since_s = 0, time.monotonic()
        finally:
            os.close(self._fd)
            self._say(self._output.end())

    async def _until_readable(self) -> None:
        """Wait until something has come, and say meanwhile what was left out."""
        loop = asyncio.get_running_loop()
        if not self._closing:
            self._came.clear()
        loop.add_reader(self._fd, self._came.set)
        try:
            while not self._came.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0 if self._output.owes else None):
                        await self._came.wait()
                self._say(self._output.summary(time.monotonic()))
        finally:
            loop.remove_reader(self._fd)

    def _read(self) -> bool:
        """Take one block; False at the end. Raises BlockingIOError where nothing is there."""
        data = os.read(self._fd, _BLOCK_BYTES)
        self._output.came(data)
        self._rest += data
        return bool(data)

    def _say(self, said: list[Said]) -> None:
        for line, lines, size in said:
            if size:
                self._log.warning("output", line=line, left_out_lines=lines, left_out_bytes=size)
            else:
                self._log.info("output", line=line)
