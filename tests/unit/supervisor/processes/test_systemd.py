import asyncio
import os
import socket
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
