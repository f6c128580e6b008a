"""The control socket: followed is who was invited, once, and what is known of him is what the kernel says."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.core.protocol.worker_events import Loaded
from headrace.supervisor.processes import worker_control
from headrace.supervisor.processes.worker_control import ControlRoom, Reporter
from headrace.telemetry.logs import make_log

PATIENCE_S = 100.0
SCRIPT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
LOADED = {"event": "loaded", "facts": {}, "took_s": 1, "forkable": True}


def hello(token: str, role: str = "host", **more: Any) -> bytes:
    return json.dumps({"event": "hello", "token": token, "role": role, **more}).encode() + b"\n"


class Room:
    """A control room with its log, and a list of who was followed."""

    def __init__(self) -> None:
        self.told = io.StringIO()
        self.room = ControlRoom()
        self.met: list[tuple[int, list[Any]]] = []

    def invite(self) -> str:
        async def greet(reporter: Reporter) -> None:
            self.met.append((reporter.pid, [event async for event in reporter.events()]))

        return self.room.invite("host", greet)

    @property
    def refusals(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.told.getvalue().splitlines()]

    async def say(self, data: bytes) -> int:
        """Have a process of its own connect and say this; returns its id once it has ended."""
        script = f"{SCRIPT}s.sendall({data!r}); s.shutdown(socket.SHUT_WR); s.recv(1)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, self.room.path)
        await process.wait()
        return process.pid

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def open_and_work() -> None:
            await self.room.open(make_log("json", stream=self.told))
            async with asyncio.timeout(PATIENCE_S):
                await work()
            await self.room.close()

        asyncio.run(open_and_work())


def test_the_kernel_says_who_was_invited() -> None:
    room = Room()

    async def work() -> None:
        line = hello(room.invite(), pid=os.getpid()) + json.dumps(LOADED).encode() + b"\n"
        pid = await room.say(line)
        assert [(met, [type(event) for event in said]) for met, said in room.met] == [(pid, [Loaded])]

    room.run(work)
    assert room.refusals == []


def test_a_token_is_good_once_and_for_its_role_only() -> None:
    room = Room()

    async def work() -> None:
        token, other, withdrawn = room.invite(), room.invite(), room.invite()
        room.room.uninvite(withdrawn)
        assert await room.say(hello(token)) == room.met[0][0]
        for data in (hello(token), hello(other, "replica"), hello(withdrawn), hello(""), hello("0" * 32)):
            await room.say(data)
        assert len(room.met) == 1

    room.run(work)
    assert room.refusals[0]["event"] == "control connection refused"
    assert "token" in room.refusals[0]["reason"]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]\n", b"x" * 10_000, json.dumps(LOADED).encode() + b"\n", b'{"event": "hello", "pid": 1}\n'],
    ids=["nothing", "no object", "no end", "no hello", "no token"],
)
def test_what_is_no_hello_is_refused_with_its_process(data: bytes) -> None:
    room = Room()

    async def work() -> None:
        pid = await room.say(data)
        while not room.refusals:  # noqa: ASYNC110 - a log has no event to wait for
            await asyncio.sleep(0.01)
        assert room.refusals[0]["pid"] == pid

    room.run(work)
    assert room.met == []


def test_many_who_say_nothing_are_bounded_and_keep_nobody_out_for_long() -> None:
    room = Room()

    async def work() -> None:
        silent = [await asyncio.open_unix_connection(room.room.path) for _ in range(200)]
        while "others" not in room.told.getvalue():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        for _, writer in silent:
            writer.close()
        token = room.invite()
        while not room.met:
            await room.say(hello(token))

    room.run(work)
    # One line a second at most, which counts the others.
    assert len(room.refusals) < 100


def test_the_paths_of_sockets_fit_also_where_the_temporary_directory_is_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    for place, expected in ((deep, Path("/tmp")), (Path("/tmp"), Path("/tmp"))):  # noqa: S108
        monkeypatch.setattr("tempfile.tempdir", str(place))
        directory = worker_control._run_directory()
        try:
            assert directory.parent == expected
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(directory / "1234567890.12345.sock"))
        finally:
            shutil.rmtree(directory)
