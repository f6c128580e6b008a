"""The keeper, with supervisors that are a few lines: who is started when, what is kept for it, and how it all ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import alive, command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a keeper on Linux only")

PATIENCE_S = 60.0

# Each supervisor says who it is, has a socket and a gateway, and does what it is told by lines from a file.
PROGRAM = """
import os, signal, socket, subprocess, sys, time
from headrace.keeper.keeping import Keeper

kept = Keeper(lambda *_: os._exit(0)).run()
place, behaviours = sys.argv[1], sys.argv[2].split(",")
behaviour = behaviours[min(kept.deaths, len(behaviours) - 1)]

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

tell("supervisor", os.getpid(), kept.pid, kept.deaths, int(kept.follows), kept.ended or "-")
if behaviour.isdigit():
    os._exit(int(behaviour))
sockets = kept.sockets
if not sockets:
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    one.listen()
    sockets = {"data": one}
kept.hold(sockets, 60.0)
tell("port", sockets["data"].getsockname()[1])
reading, writing = os.pipe()
ours, theirs = socket.socketpair()
directory = os.path.join(place, f"run-{kept.deaths}")
os.mkdir(directory)
kept.lend(writing, ours, directory)
ours.close()
GATEWAY = '''
import os, sys
sys.path[:0] = sys.argv[3].split(os.pathsep)
from headrace_worker import lifeline
lifeline.arm(int(sys.argv[1]))
os.write(1, f"gateway {os.getpid()} up{chr(10)}".encode())
os.read(int(sys.argv[2]), 1)
os.write(1, f"gateway {os.getpid()} ends{chr(10)}".encode())
'''
arguments = [sys.executable, "-c", GATEWAY, str(reading), str(theirs.fileno()), os.pathsep.join(sys.path)]
kept.opening()
if behaviour == "stuck":
    arguments[2] = GATEWAY.replace("os.read(int(sys.argv[2]), 1)", "import time; time.sleep(600)")
subprocess.Popen(arguments, pass_fds=[reading, theirs.fileno()])
if behaviour != "unproven":
    kept.proven()
if behaviour == "empty":
    kept.hold({})
    tell("closed")
while True:
    signal.pause()
"""


class Kept:
    """A keeper that runs; `lines` are what its family has said."""

    def __init__(self, place: Path, *behaviours: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(place), ",".join(behaviours)], stdout=subprocess.PIPE
        )
        self.lines: list[list[str]] = []
        self._rest = b""

    def said(self, *words: str) -> list[str]:
        """Wait for a line that begins so and was not returned before."""
        deadline_s = time.monotonic() + PATIENCE_S
        assert self.process.stdout is not None
        while True:
            for line in self.lines:
                if line[: len(words)] == list(words):
                    self.lines.remove(line)
                    return line
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert data, f"nobody says {words}; there is {self.lines}"
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.lines += [line.decode().split() for line in lines]

    def supervisor(self) -> int:
        """The process id of the next supervisor that comes."""
        return int(self.said("supervisor")[1])

    def gateway(self) -> psutil.Process:
        """The next gateway that comes up."""
        line = self.said("gateway")
        assert line[2] == "up", line
        return psutil.Process(int(line[1]))


@contextlib.contextmanager
def keeping(place: Path, *behaviours: str) -> Iterator[Kept]:
    one = Kept(place, *behaviours)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def gone(*processes: psutil.Process) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while alive(processes) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not alive(processes)


@pytest.mark.parametrize("code", [0, 1, 2, 70])
def test_a_supervisor_that_ends_by_itself_at_the_start_is_the_last(tmp_path: Path, code: int) -> None:
    with keeping(tmp_path, str(code)) as one:
        assert one.process.wait(PATIENCE_S) == code


def test_one_that_is_killed_is_followed_by_another_with_the_same_socket(tmp_path: Path) -> None:
    with keeping(tmp_path, "serve") as one:
        first, port, gateway = one.supervisor(), one.said("port"), one.gateway()
        os.kill(first, signal.SIGKILL)
        told = one.said("supervisor")
        assert (told[3:6], " ".join(told[5:])) == (["1", "1", "killed"], "killed by SIGKILL")
        assert one.said("port") == port
        assert one.said("gateway", str(gateway.pid)) == ["gateway", str(gateway.pid), "ends"], (
            "the other has taken over"
        )
        assert gone(gateway)
        with socket.create_connection(("127.0.0.1", int(port[1])), 10):
            pass
        one.process.terminate()
        assert one.process.wait(PATIENCE_S) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port[1])), 10)


def test_gateways_serve_until_another_supervisor_has_proven_itself(tmp_path: Path) -> None:
    with keeping(tmp_path, "serve", "unproven", "serve") as one:
        first, first_gateway = one.supervisor(), one.gateway()
        os.kill(first, signal.SIGKILL)
        second, second_gateway = one.supervisor(), one.gateway()
        os.kill(second, signal.SIGKILL)
        one.supervisor()
        ended = {one.said("gateway", str(g.pid))[2] for g in (first_gateway, second_gateway)}
        assert ended == {"ends"}, "both had clients"
        assert gone(first_gateway, second_gateway)


def test_what_has_not_ended_when_its_gateways_have_is_ended_and_its_directory_removed(tmp_path: Path) -> None:
    with keeping(tmp_path, "serve") as one:
        first, gateway = one.supervisor(), one.gateway()
        assert (tmp_path / "run-0").is_dir()
        gateway.suspend()
        os.kill(first, signal.SIGKILL)
        one.supervisor()
        one.gateway()
        gateway.resume()
        assert gone(gateway)
        deadline_s = time.monotonic() + PATIENCE_S
        while (tmp_path / "run-0").exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert not (tmp_path / "run-0").exists()


def test_nothing_survives_the_keeper(tmp_path: Path) -> None:
    with keeping(tmp_path, "stuck") as one:
        first, gateway = one.supervisor(), one.gateway()
        os.kill(first, signal.SIGKILL)
        second, another = one.supervisor(), one.gateway()
        one.process.kill()
        assert gone(gateway, another, *([psutil.Process(second)] if psutil.pid_exists(second) else []))


def test_it_gives_up_and_ends_with_the_code_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = "from headrace.keeper import keeping\nkeeping._FIRST_WAIT_S = 0.001\nkept = Keeper"
    program = PROGRAM.replace("kept = Keeper", quick)
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", program)
    with keeping(tmp_path, "serve", "2") as one:
        first, gateway = one.supervisor(), one.gateway()
        os.kill(first, signal.SIGKILL)
        assert one.process.wait(PATIENCE_S) == 2
        assert gone(gateway)
        tried = [line for line in one.lines if line[0] == "supervisor"] or [one.said("supervisor")]
        assert tried


def test_signals_are_handed_on_and_a_stop_ends_what_serves_without_a_supervisor(tmp_path: Path) -> None:
    with keeping(tmp_path, "serve", "2") as one:
        first, gateway = one.supervisor(), one.gateway()
        os.kill(first, signal.SIGKILL)
        one.supervisor()
        one.process.terminate()
        assert one.said("gateway", str(gateway.pid))[2] == "ends"
        assert one.process.wait(PATIENCE_S) in (0, 2)  # 2: the second supervisor ended by itself before it heard
        assert gone(gateway)


def test_a_socket_that_is_not_held_any_more_is_closed(tmp_path: Path) -> None:
    with keeping(tmp_path, "empty") as one:
        one.said("closed")
        files = {str(fd.readlink()) for fd in Path(f"/proc/{one.process.pid}/fd").iterdir()}
        listening = {f"socket:[{line.split()[9]}]" for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
        assert not files & listening


def test_a_supervisor_is_told_from_its_keeper_by_its_command_line(tmp_path: Path) -> None:
    with keeping(tmp_path, "serve") as one:
        supervisor = one.supervisor()
        assert command(psutil.Process(supervisor)).startswith("headrace.supervisor ")
        assert str(tmp_path) in command(psutil.Process(supervisor))
        assert "headrace.supervisor" not in command(psutil.Process(one.process.pid))[:40]


def test_it_imports_nothing_but_the_standard_library() -> None:
    program = "import sys; before = set(sys.modules); import headrace.keeper.keeping; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in done.stdout.split()}
    assert found - {"headrace"} <= sys.stdlib_module_names
    assert not found & {"asyncio", "json", "subprocess", "logging"}
