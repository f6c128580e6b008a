"""How the processes of one version are started, forked, replaced and given up: with processes that the test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.core.environments.mismatch import Report
from headrace.core.errors import ModelLoadError
from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.protocol.worker_events import Event, Exited, Facts, Failed, Loaded, ProtocolError, Ready, WarmUp
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes import workers as module
from headrace.supervisor.processes.learned import Learned
from headrace.supervisor.processes.worker_process import Host, WorkerSpec, none_ended
from headrace.supervisor.processes.workers import Workers
from headrace.supervisor.processes.zygotes import Zygotes
from tests.unit.supervisor.rollout.fakes import quiet, until

pytestmark = pytest.mark.anyio

PREPARED = Prepared(policy="local", python="python", report=Report((), ""))
AT_ONCE = RestartPolicy(first_s=0.0, most_s=0.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Reporter:
    """A process's control connection: `says` is what it says, `told` what it was told."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.told: list[tuple[str, ...]] = []
        self.killed = False
        self._events: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    def says(self, event: Event | Exception | None) -> None:
        self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def load(self, path: str, options: Any) -> None:  # noqa: ARG002
        self.told.append(("load", path))

    def fork(self, replica: str, socket: str, token: str) -> None:  # noqa: ARG002
        self.told.append(("fork", replica, token))

    def serve(self, replica: str, socket: str) -> None:  # noqa: ARG002
        self.told.append(("serve", replica))

    def ping(self) -> None:
        self.told.append(("ping",))

    def kill(self) -> None:
        self.killed = True
        self.says(None)

    async def ended(self, within_s: float) -> bool:  # noqa: ARG002
        return True

    async def until_told(self, command: str, times: int = 1) -> None:
        await until(lambda: len(self.has(command)) >= times)

    def has(self, command: str) -> list[tuple[str, ...]]:
        return [one for one in self.told if one[0] == command]


class Child:
    """A process as its parent knows it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started_s = time.monotonic()
        self.last_lines = ["the last line"]
        self._over = asyncio.Event()

    async def wait(self) -> int:
        await self._over.wait()
        return 1

    def ends(self) -> None:
        self._over.set()

    def kill(self, why: str) -> None:  # noqa: ARG002
        self.ends()

    async def stop(self, grace_s: float, why: str) -> int:  # noqa: ARG002
        self.ends()
        return 0

    def describe(self) -> str:
        return "ended with exit code 1"


class Room:
    """Whom `workers` has invited, by token."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.invited: dict[str, Callable[[Any], Any]] = {}
        self._serial = 0

    def invite(self, role: str, greet: Callable[[Any], Any]) -> str:
        self._serial += 1
        token = f"{role}-{self._serial}"
        self.invited[token] = greet
        return token

    def uninvite(self, token: str) -> None:
        self.invited.pop(token, None)


class Version:
    """The processes of one version, and what they say. `hosts` are those that were started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, replicas: int) -> None:
        self.room = Room(folder)
        self.hosts: list[tuple[Child, Reporter]] = []
        self.brought = 0
        self.breaks: Exception | None = None
        self.ended = none_ended()
        self.changes = 0
        self._guests: list[asyncio.Task[None]] = []
        spec = WorkerSpec(
            key="m/1@p#7", model="m", label="m/1", replicas=replicas, environ={}, kept_back=frozenset(), options={},
            share_imports=False,
            timeout_s=30.0, hung_after_s=None,
        )  # fmt: skip
        monkeypatch.setattr(module, "start_host", self._start)
        room: Any = self.room
        zygotes = Zygotes(room, Learned(folder), quiet())  # never asked: hosts are played
        self.workers = Workers(spec, room, quiet(), self._changed, self.ended, self._bring, zygotes)
        self.workers.restarts = Restarts(AT_ONCE)
        self.workers.loads = Restarts(RestartPolicy(first_s=0.0, most_s=0.0, give_up_after=3))

    def _changed(self) -> None:
        self.changes += 1

    async def _bring(self) -> str:
        self.brought += 1
        if self.breaks is not None:
            raise self.breaks
        return "/again"

    async def _start(self, *given: Any) -> Host:
        *_, greet, _ = given
        pid = 100 + len(self.hosts)
        child, reporter = Child(pid), Reporter(pid)
        self.hosts.append((child, reporter))
        self._guests.append(asyncio.create_task(greet(reporter)))
        known: Any = child
        return Host(known, f"host-token-{pid}")

    async def started(self, number: int) -> None:
        """So many hosts have been started."""
        await until(lambda: len(self.hosts) == number)

    async def loaded(self, *, forkable: bool = True) -> Reporter:
        """The newest host has loaded the model."""
        await until(lambda: self.hosts and self.hosts[-1][1].has("load"))
        reporter = self.hosts[-1][1]
        reporter.says(Loaded(facts=Facts(mlflow_version="3.1"), took_s=0.5, forkable=forkable))
        return reporter

    async def forked(self, host: Reporter, number: int) -> tuple[str, Reporter]:
        """The fork of that number has connected and is ready: its name, and its connection."""
        await until(lambda: len(host.has("fork")) >= number)
        _, name, token = host.has("fork")[number - 1]
        reporter = Reporter(200 + number)
        self._guests.append(asyncio.create_task(self.room.invited.pop(token)(reporter)))
        reporter.says(READY)
        await until(lambda: name in self.ready)
        return name, reporter

    async def until_ready(self, replicas: int) -> None:
        await until(lambda: len(self.ready) == replicas)

    @property
    def ready(self) -> list[str]:
        return [one.id for one in self.workers.ready]

    async def close(self) -> None:
        for guest in self._guests:
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)


READY = Ready(facts=Facts(mlflow_version="3.1"), warm_up=WarmUp(ok=True), rss_bytes=5)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    @asynccontextmanager
    async def running(replicas: int = 2) -> AsyncIterator[Version]:
        version = Version(tmp_path, monkeypatch, replicas)
        task = asyncio.create_task(version.workers.run())
        version.workers.load("/model", PREPARED, verified=True)
        try:
            yield version
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await version.close()
        assert version.workers.ready == ()

    return running


async def test_a_model_is_loaded_once_and_forked_for_each_replica(run: Any) -> None:
    async with run() as version:
        host = await version.loaded()
        assert host.told == [("load", "/model")]
        assert version.brought == 0, "it was verified just now"
        names = [(await version.forked(host, number))[0] for number in (1, 2)]
        assert names == version.ready == ["m/1@p#7.1", "m/1@p#7.2"]
        assert (version.workers.load_s, version.workers.proven) == (0.5, True)
        assert version.workers.facts["mlflow_version"] == "3.1"
        assert version.workers.warm_up["ok"] is True
        sockets = [Path(one.socket).name for one in version.workers.ready]
        assert sockets == ["7.1.sock", "7.2.sock"], "short: a socket's path may have 107 bytes"
        assert [(one["role"], one.get("index")) for one in version.workers.processes] == [
            ("host", 0),
            ("replica", 0),
            ("replica", 1),
        ]
        assert len(version.hosts) == 1


async def test_a_replica_that_ends_is_replaced_by_another_fork_in_its_place(run: Any) -> None:
    async with run() as version:
        host = await version.loaded()
        (name, first), _ = [await version.forked(host, number) for number in (1, 2)]
        first.says(None)
        third, _ = await version.forked(host, 3)
        assert name not in version.ready
        assert {one["id"]: one["index"] for one in version.workers.processes if one["role"] == "replica"} == {
            "m/1@p#7.2": 1,
            third: 0,
        }
        assert version.ended["died"] == 1
        assert version.workers.restarts.total == 1


async def test_a_host_that_ends_is_replaced_and_its_replicas_go_on(run: Any) -> None:
    async with run(1) as version:
        host = await version.loaded()
        name, _ = await version.forked(host, 1)
        version.hosts[0][0].ends()
        await until(lambda: len(version.hosts) == 2)
        assert version.ready == [name]
        assert (version.ended["host"], version.ended["died"]) == (1, 0)
        await version.loaded()
        assert version.brought == 1, "each further load begins with files that are whole"
        assert version.hosts[1][1].told[0] == ("load", "/again")


async def test_a_model_that_cannot_be_forked_has_a_process_for_each_replica(run: Any) -> None:
    async with run() as version:
        for number in (1, 2):
            await version.started(number)
            reporter = await version.loaded(forkable=False)
            await reporter.until_told("serve")
            reporter.says(READY)
            await version.until_ready(number)
        assert [one["role"] for one in version.workers.processes] == ["replica", "replica"]
        version.hosts[0][1].says(None)
        await until(lambda: len(version.ready) == 1)
        version.hosts[0][0].ends()
        await until(lambda: len(version.hosts) == 3)


async def test_a_model_that_does_not_load_is_given_up_after_three_tries(run: Any) -> None:
    async with run() as version:
        for number in (1, 2, 3):
            await version.started(number)
            child, reporter = version.hosts[-1]
            await reporter.until_told("load")
            reporter.says(Failed(reason=f"no GPU {number}", detail="a traceback"))
            reporter.says(None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            child.ends()
        await until(lambda: version.workers.failure)
        assert (version.workers.failure, version.workers.failure_detail) == ("no GPU 3", "a traceback")
        assert (version.ended["load"], len(version.hosts)) == (3, 3)


async def test_a_process_that_ends_while_it_loads_says_how_and_with_which_last_words(run: Any) -> None:
    async with run() as version:
        for number in (1, 2, 3):
            await version.started(number)
            version.hosts[-1][0].ends()
        await until(lambda: version.workers.failure)
        assert version.workers.failure == "the worker ended with exit code 1 while loading"
        assert version.workers.failure_detail == "the last line"


async def test_what_is_proven_is_never_given_up(run: Any) -> None:
    async with run(1) as version:
        host = await version.loaded()
        await version.forked(host, 1)
        for number in range(1, 6):
            version.hosts[-1][0].ends()
            await version.started(number + 1)
        assert version.workers.failure is None
        assert len(version.ready) == 1


async def test_a_worker_that_keeps_dying_while_it_warms_up_is_given_up(run: Any) -> None:
    async with run(1) as version:
        host = await version.loaded()
        for number in (1, 2, 3):
            await host.until_told("fork", number)
            host.says(Exited(replica=host.has("fork")[-1][1], exit=-11))
        await until(lambda: version.workers.failure)
        assert version.workers.failure is not None
        assert version.workers.failure.startswith("the worker died 3 times while it warmed up")


async def test_files_that_cannot_be_had_are_the_end_of_what_was_never_proven(run: Any) -> None:
    async with run(1) as version:
        version.breaks = ModelLoadError("the copy is damaged")
        await until(lambda: version.hosts)
        version.hosts[0][0].ends()
        await until(lambda: version.workers.failure)
        assert version.workers.failure == "the copy is damaged"


@pytest.mark.parametrize("fault", [ProtocolError("it said what it must not"), LookupError("ours")])
async def test_whatever_goes_wrong_with_a_process_costs_that_process(run: Any, fault: Exception) -> None:
    async with run(1) as version:
        host = await version.loaded()
        name, reporter = await version.forked(host, 1)
        reporter.says(fault)
        other, _ = await version.forked(host, 2)
        assert reporter.killed
        assert version.ready == [other]
        assert name != other
        assert version.ended["protocol"] == 1


async def test_a_replica_that_is_of_no_use_is_killed_and_counted_by_why(run: Any) -> None:
    async with run(1) as version:
        host = await version.loaded()
        name, reporter = await version.forked(host, 1)
        version.workers.kill("nobody", "why", "hung")
        version.workers.kill(name, "a batch takes too long", "hung")
        assert reporter.killed
        await version.forked(host, 2)
        assert (version.ended["hung"], version.ended["died"]) == (1, 0)


async def test_they_end_though_something_happens_at_the_moment_of_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Version(tmp_path, monkeypatch, 1)
    version.workers._not_before_s = time.monotonic() + 3600.0  # as after deaths in a row
    version.workers.load("/model", PREPARED, verified=True)
    task = asyncio.create_task(version.workers.run())
    for _ in range(5):
        await asyncio.sleep(0)
    version.workers.load("/model", PREPARED, verified=True)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.cancelled()
    await version.close()
