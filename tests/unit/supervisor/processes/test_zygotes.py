"""Zygotes: real ones, in a small environment of their own, whose modules write down when they are imported."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.core.environments.mismatch import Report
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes.children import Child
from headrace.supervisor.processes.learned import Learned
from headrace.supervisor.processes.worker_control import ControlRoom, Reporter
from headrace.supervisor.processes.worker_process import Host, WorkerSpec, start_host
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.telemetry.logs import make_log
from tests.processes import command
from tests.unit.supervisor.rollout.fakes import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="there are zygotes on Linux only"),
]

PATIENCE_S = 100.0
PR_SET_CHILD_SUBREAPER = 36
NOTED = "import os\nwith open({file!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _subreaper() -> Iterator[None]:
    """As the supervisor is one: orphans of its children are given to it."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@dataclass
class Place:
    """An environment, a home, a model that is none, and the zygotes of one supervisor."""

    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})
    told: io.StringIO = field(default_factory=io.StringIO)
    met: asyncio.Queue[Reporter] = field(default_factory=asyncio.Queue)
    hosts: list[Host] = field(default_factory=list)
    room: ControlRoom = field(init=False)
    zygotes: Zygotes = field(init=False)

    def __post_init__(self) -> None:
        if not self.python.exists():
            command = [sys.executable, "-m", "venv", "--without-pip", str(self.folder / "env")]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        self.model.mkdir(exist_ok=True)
        self.log = make_log("json", stream=self.told)

    @property
    def python(self) -> Path:
        return self.folder / "env" / "bin" / "python"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def prepared(self) -> Prepared:
        return Prepared(policy="exact", python=str(self.python), report=Report((), ""), digest="d" * 32)

    def has(self, module: str, code: str = "") -> None:
        """The environment has a module that notes its imports and then does that."""
        (site,) = self.python.parent.parent.glob("lib/python3*/site-packages")
        (site / f"{module}.py").write_text(NOTED.format(file=str(self.folder / f"{module}.log")) + code)

    def installs(self, name: str) -> None:
        """Somebody installs something into the environment."""
        (site,) = self.python.parent.parent.glob("lib/python3*/site-packages")
        (site / name).mkdir()

    def imported(self, module: str) -> list[int]:
        """The processes that have imported it."""
        file = self.folder / f"{module}.log"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    @asynccontextmanager
    async def serving(self, *first: str) -> AsyncIterator[Place]:
        """A supervisor's zygotes, which import that first."""
        self.room = ControlRoom()
        await self.room.open(self.log)
        self.zygotes = Zygotes(self.room, Learned(self.folder / "home"), self.log, first)
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield self
        finally:
            for host in self.hosts:
                await host.child.stop(PATIENCE_S, "the test is over")
            await self.zygotes.close()
            await self.room.close()

    async def fork(self, **environ: str) -> Child | None:
        """A host, if it is one that a zygote has forked; it has connected when this returns."""
        token = self.room.invite("host", self._greet)
        given = {**self.environ, **environ}
        child = await self.zygotes.fork(self.prepared, given, str(self.model), "m/1", token, self.log)
        if child is not None:
            reporter = await self.met.get()
            assert reporter.pid == child.pid
        return child

    async def start(self) -> Host:
        """A host, whatever it came from."""
        spec = WorkerSpec(
            key="m/1@p#7", model="m", label="m/1", replicas=1, environ=self.environ, kept_back=frozenset(), options={},
            share_imports=True, timeout_s=30.0, hung_after_s=None,
        )  # fmt: skip
        host = await start_host(spec, self.room, self.zygotes, self.prepared, str(self.model), self._greet, self.log)
        self.hosts.append(host)
        reporter = await self.met.get()
        assert reporter.pid == host.child.pid
        return host

    async def _greet(self, reporter: Reporter) -> None:
        self.met.put_nowait(reporter)
        async for _ in reporter.events():
            pass

    @property
    def zygote(self) -> int:
        (pid,) = self.zygotes.pids
        return pid

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.told.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def runs(process: psutil.Process, label: str) -> bool:
    return label in command(process)


def environ(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def open_files(pid: int) -> dict[str, str]:
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[fd.name] = str(fd.readlink())
    return found


async def test_hosts_share_what_was_imported_once_and_are_our_children(place: Place) -> None:
    place.has("alpha")
    async with place.serving("alpha"):
        children = [await place.fork() for _ in range(3)]
        assert place.imported("alpha") == [place.zygote]
        for child in children:
            assert child is not None
            process = psutil.Process(child.pid)
            assert process.ppid() == os.getpid()
            assert os.getsid(child.pid) == child.pid
            assert json.loads(process.cmdline()[-2]) == {"headrace_worker": "m/1"}
            assert process.cmdline()[-1].strip() == "role=host"
        assert psutil.Process(place.zygote).cmdline()[-1].strip() == "role=zygote"


async def test_how_a_fork_ended_is_known(place: Place) -> None:
    async with place.serving():
        first, second, third = [await place.fork() for _ in range(3)]
        assert first is not None
        assert second is not None
        assert third is not None
        os.kill(first.pid, signal.SIGSEGV)
        assert await first.wait() == -signal.SIGSEGV
        assert first.describe() == "killed by SIGSEGV"
        assert not first.running
        second.kill("it is a test")
        assert await second.wait() == -signal.SIGKILL
        assert second.describe() == "killed by headrace: it is a test"
        assert await third.stop(PATIENCE_S, "it is a test") == -signal.SIGTERM
        second.kill("it has ended already")


async def test_a_fork_has_no_descriptor_of_the_zygote_or_of_another_fork(place: Place) -> None:
    async with place.serving():
        first, second = [await place.fork() for _ in range(2)]
        assert first is not None
        assert second is not None
        shared = {open_files(place.zygote)["0"]}
        lifeline = open_files(os.getpid())[str(place.room.lifeline_fd)]
        for one, other in ((first.pid, second.pid), (first.pid, place.zygote), (second.pid, place.zygote)):
            both = {*open_files(one).values()} & {*open_files(other).values()}
            assert both - shared <= {lifeline, "anon_inode:[eventpoll]"}
        assert sum(name == lifeline for name in open_files(first.pid).values()) == 2  # for its forks, and its own


async def test_models_whose_variables_differ_share_nothing(place: Place) -> None:
    place.has("alpha")
    async with place.serving("alpha"):
        for secret in ("mine", "yours", "mine"):
            child = await place.fork(API_KEY=secret)
            assert child is not None
            assert f"API_KEY={secret}".encode() in environ(child.pid)
        assert sorted(place.imported("alpha")) == sorted(place.zygotes.pids)
        assert len(place.zygotes.pids) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()", "it starts"),
        ("raise SystemExit('not me')", "it cannot be imported by itself: SystemExit: not me"),
    ],
)
async def test_what_cannot_be_shared_is_left_out_and_told(place: Place, code: str, reason: str) -> None:
    for name in ("alpha", "omega"):
        place.has(name)
    place.has("bad", code)
    async with place.serving("alpha", "bad", "omega"):
        assert await place.fork() is not None
        assert place.imported("omega") == [place.zygote]
        assert len(psutil.Process(place.zygote).threads()) == 1
        told = place.zygotes.describe(place.prepared, place.environ)
        assert [*told["left_out"]] == ["bad"]
        assert told["left_out"]["bad"].startswith(reason)
    before = len(place.imported("bad"))
    async with place.serving("alpha", "bad", "omega"):
        assert await place.fork() is not None
    assert len(place.imported("bad")) == before, "the next start knows it"


async def test_a_dead_zygote_is_replaced_and_its_forks_go_on(place: Place) -> None:
    async with place.serving():
        child = await place.fork()
        assert child is not None
        before = place.zygote
        os.kill(before, signal.SIGKILL)
        await until(lambda: place.events("zygote ended"))
        assert await place.fork() is not None
        assert place.zygote != before
        assert child.running


async def test_a_zygote_that_is_killed_while_it_forks_costs_a_start_and_nothing_else(place: Place) -> None:
    kill = place.folder / "kill"
    place.has("alpha", f"os.register_at_fork(before=lambda: os.path.exists({str(kill)!r}) and os.kill(os.getpid(), 9))")
    async with place.serving("alpha"):
        assert (await place.start()).child.running
        kill.touch()
        host = await place.start()
        assert psutil.Process(host.child.pid).cmdline()[-1].strip() == "role=host"
        assert "token_fd" in psutil.Process(host.child.pid).cmdline()[-2], "a process of its own"
        (lost,) = place.events("zygote lost")
        assert "SIGKILL" in lost["reason"]
        kill.unlink()
        await until(lambda: not place.zygotes.pids)
        assert await place.fork() is not None


async def test_a_host_that_was_forked_as_its_zygote_died_is_refused(place: Place) -> None:
    """It was told a token, and nobody was told of it: the token is none any more, and it ends."""
    code = "zygote = os.getpid()\n"
    code += "os.register_at_fork(after_in_parent=lambda: os.getpid() != zygote and os.kill(zygote, 9))"
    place.has("alpha", code)
    async with place.serving("alpha"):
        host = await place.start()
        assert "token_fd" in psutil.Process(host.child.pid).cmdline()[-2]
        await until(lambda: [p.pid for p in psutil.Process().children() if runs(p, "m/1")] == [host.child.pid])


async def test_a_zygote_that_stands_still_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place.serving():
        zygote = await until_forked(place)
        os.kill(zygote, signal.SIGSTOP)
        monkeypatch.setattr("headrace.supervisor.processes.zygote_process._PATIENCE_S", 0.5)
        host = await place.start()
        assert "token_fd" in psutil.Process(host.child.pid).cmdline()[-2]
        await until(lambda: not psutil.pid_exists(zygote))


async def until_forked(place: Place) -> int:
    assert await place.fork() is not None
    return place.zygote


async def test_an_environment_that_has_changed_has_another_zygote(place: Place) -> None:
    place.has("alpha")
    async with place.serving("alpha"):
        before = await until_forked(place)
        place.installs("beta-1.0.dist-info")
        after = await until_forked(place)
        assert place.imported("alpha") == [before, after]


async def test_what_a_load_has_imported_is_imported_before_the_next_one(place: Place) -> None:
    for name in ("alpha", "beta"):
        place.has(name)
    async with place.serving("alpha"):
        zygote = await until_forked(place)
        await place.zygotes.learn(place.prepared, str(place.model), ("beta",))
        assert await until_forked(place) == zygote
        assert place.imported("beta") == [zygote]
    async with place.serving("alpha"):
        assert await until_forked(place) == place.imported("beta")[-1], "the next start knows it"
        (place.model / "requirements.txt").write_text("other\n")
        assert await place.fork(OTHER="1") is not None
        assert len(place.imported("beta")) == 2, "a model of another kind is not made to wait for it"


async def test_the_last_model_takes_the_zygote_with_it(place: Place) -> None:
    async with place.serving():
        for _ in range(2):
            place.zygotes.enter(place.prepared, place.environ)
        zygote = await until_forked(place)
        place.zygotes.leave(place.prepared, place.environ)
        assert place.zygote == zygote
        place.zygotes.leave(place.prepared, place.environ)
        await until(lambda: not psutil.pid_exists(zygote))
