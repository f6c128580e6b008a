import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.config.environment import for_children, systemd
from headrace.supervisor.processes.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(60)
        yield one


def test_systemd_hears_ready_and_stopping(manager: socket.socket) -> None:
    notifier = Notifier(systemd({"NOTIFY_SOCKET": manager.getsockname()}))
    notifier.ready("2 of 2 models can answer")
    assert manager.recv(200) == b"READY=1\nSTATUS=2 of 2 models can answer"
    notifier.stopping()
    assert manager.recv(200).startswith(b"STOPPING=1\n")


def test_systemd_hears_that_the_configuration_is_read_again(manager: socket.socket) -> None:
    """sd_notify(3): RELOADING=1 with the moment on the monotonic clock, then READY=1."""
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(systemd({"NOTIFY_SOCKET": manager.getsockname()})).reloading()
    told = dict(line.split("=", 1) for line in manager.recv(200).decode().splitlines())
    assert told["RELOADING"] == "1"
    assert before_us <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_watchdog_is_fed_until_cancelled(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000", "WATCHDOG_PID": str(os.getpid())}

    async def fed() -> None:
        task = asyncio.create_task(Notifier(systemd(environ)).keep_alive())
        for _ in range(3):
            assert await asyncio.to_thread(manager.recv, 200) == b"WATCHDOG=1"
        task.cancel()

    asyncio.run(fed())


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"WATCHDOG_USEC": "3000"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "not a number"},
        {"NOTIFY_SOCKET": "@nowhere-at-all", "WATCHDOG_USEC": "3000", "WATCHDOG_PID": "1"},
    ],
)
def test_nothing_happens_where_nobody_listens(environ: dict[str, str]) -> None:
    notifier = Notifier(systemd(environ))
    notifier.ready("")
    notifier.stopping()
    asyncio.run(notifier.keep_alive())


def test_children_are_not_told_of_it() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1", "HOME": "/"}
    assert for_children(environ) == {"HOME": "/"}
