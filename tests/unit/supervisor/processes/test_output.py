"""A process that prints without end costs the supervisor little in each turn of its loop, and nobody else anything."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.core.processes.output import LINES_AT_A_TIME
from headrace.supervisor.processes.children import Child
from headrace.telemetry.logs import make_log

PATIENCE_S = 100.0
Script = Callable[[str], Awaitable[Child]]


class Watched(io.StringIO):
    """A log that knows how many lines were written in each turn of the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.by_turn: dict[int, int] = {}

    def count_turns(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.count_turns)

    def write(self, text: str) -> int:
        self.by_turn[self.turn] = self.by_turn.get(self.turn, 0) + text.count("\n")
        return super().write(text)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def watch(work: Callable[[Script, Watched], Awaitable[None]]) -> Watched:
    """Run `work`, which starts Python scripts as children of ours; returns the log."""
    stream = Watched()
    log = make_log("json", stream=stream)

    async def start(script: str) -> Child:
        return await Child.start([sys.executable, "-c", script], log=log, environ=os.environ)

    async def run() -> None:
        stream.count_turns()
        async with asyncio.timeout(PATIENCE_S):
            await work(start, stream)

    asyncio.run(run())
    return stream


async def until_logged(stream: Watched, *texts: str) -> None:
    while not all(text in stream.getvalue() for text in texts):  # noqa: ASYNC110 - a log has no event to wait for
        await asyncio.sleep(0.01)


def test_short_lines_are_counted_and_a_turn_logs_few() -> None:
    async def work(start: Script, stream: Watched) -> None:
        child = await start("import os\nfor _ in range(100): os.write(1, b'x\\n' * 10_000)\nprint('Traceback: why')")
        assert await child.wait() == 0
        assert child.last_lines[-1] == "Traceback: why"
        assert await child.stop(1.0, "the test is over") == 0
        while told(stream) < 1_000_001:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    def told(stream: Watched) -> int:
        return sum(event.get("left_out_lines", 1) for event in stream.events)

    stream = watch(work)
    assert told(stream) == 1_000_001
    assert max(stream.by_turn.values()) <= LINES_AT_A_TIME + 1


def test_processes_that_never_stop_printing_keep_nobody_from_being_heard() -> None:
    async def work(start: Script, stream: Watched) -> None:
        loud = [await start("import os\nwhile True: os.write(1, b'y' * 3000 + b'\\n')") for _ in range(3)]
        quiet = await start("print('here I am')")
        await until_logged(stream, "here I am", "left_out_lines")
        for child in (*loud, quiet):
            await child.stop(1.0, "the test is over")

    stream = watch(work)
    assert max(stream.by_turn.values()) <= 4 * LINES_AT_A_TIME


def test_what_a_fork_prints_is_passed_on_after_the_end_of_its_parent() -> None:
    script = """
import os, time
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.01)
    print("from the fork")
"""

    async def work(start: Script, stream: Watched) -> None:
        child = await start(script)
        assert await child.wait() == 0
        await until_logged(stream, "from the fork")

    watch(work)


@pytest.mark.parametrize("program", ["/nowhere", str(Path(__file__).parent)], ids=["missing", "directory"])
def test_what_cannot_be_started_leaves_nothing_open(program: str) -> None:
    before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208 - names only

    async def run() -> None:
        with pytest.raises(OSError, match="Errno"):
            await Child.start([program], log=make_log("json", stream=io.StringIO()), environ=os.environ)
        assert len(os.listdir("/dev/fd")) <= len(before) + 4  # noqa: PTH208 - the loop's own

    asyncio.run(run())
