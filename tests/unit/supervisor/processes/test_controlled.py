"""Whatever a gateway, the registry's agent or the recorder says: that process is replaced, and the next one works."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.config.load import parse
from headrace.core.protocol import framing
from headrace.core.protocol.messages import Configure, Hazard, Limits, News, Recording, Table
from headrace.core.protocol.records import Told
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.processes.recorder import RecorderProcess
from headrace.telemetry.logs import Log, make_log

PATIENCE_S = 100.0
NONSENSE = {
    "an impossible length": b"\xff\xff\xff\xff",
    "no message": b"\x01\x00\x00\x00\xc1",
    "an unknown kind": framing.encode({"type": "Nonsense"}),
    "wrong fields": framing.encode({"type": "Stats", "token": "x", "values": 1}),
    "no array of fields": framing.encode(["Pong"]),
    "a hole": framing.encode({"type": "Hazard"}),
    "no text": framing.encode({"type": "Drained", "pool": "aaaa"}).replace(b"aaaa", b"\xff\xfe\xff\xfe"),
    "depth": framing.encode(b"").replace(b"\x02\x00\x00\x00", (100_001).to_bytes(4, "little"))[:4]
    + b"\x91" * 100_000
    + b"\xc0",
    "the end": b"",
}


class Host:
    """What a keeper is given: an environment in which the first processes are hostile, and a log."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, nonsense: list[bytes]) -> None:
        self.directory = directory
        self.told = io.StringIO()
        self.log = make_log("json", stream=self.told)
        self.environ = {**os.environ, "TMPDIR": str(directory), "PYTHON_REAL": sys.executable}
        (directory / "nonsense").mkdir()
        for number, data in enumerate(nonsense):
            (directory / "nonsense" / f"{number:03}").write_bytes(data)
        # A program that takes Python's place, for it is by this name that processes are started.
        program = directory / "python"
        hostile = Path(__file__).with_name("hostile.py")
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(hostile))} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for line in self.told.getvalue().splitlines() if (event := json.loads(line))["event"] == name]

    def run(self, keep: Coroutine[Any, Any, None], works: Coroutine[Any, Any, None]) -> None:
        async def both() -> None:
            keeping = asyncio.create_task(keep)
            async with asyncio.timeout(PATIENCE_S):
                await works
            assert not keeping.done()
            keeping.cancel()
            await asyncio.wait([keeping])

        # A fixture of another file may have a server of its own under this process.
        others = psutil.Process().children()
        asyncio.run(both())
        ours = [child for child in psutil.Process().children() if child not in others]
        assert psutil.wait_procs(ours, PATIENCE_S)[1] == []


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is another process
        await asyncio.sleep(0.01)


def gateways(log: Log, environ: dict[str, str], on_news: Callable[[News], None] = lambda _: None) -> Gateways:
    configure = Configure(index=0, listeners=(), limits=Limits(), drain_s=1.0)
    return Gateways([configure], environ, log, hung_after_s=None, on_news=on_news)


def agent(log: Log, environ: dict[str, str]) -> RegistryAgent:
    settings: dict[str, Any] = {"home": environ["TMPDIR"], "registry_key": "", "timeout_s": 60.0, "warm": False}
    settings |= {"tracking_uri": None, "registry_uri": None}
    return RegistryAgent(settings, environ, log, timeout_s=60.0, fetch_timeout_s=60.0, hung_after_s=None)


def recorder(log: Log, environ: dict[str, str]) -> RecorderProcess:
    config = parse({"models": {"m": {"uri": "models:/m@production", "port": 0}}, "log": {"access": "full"}})
    return RecorderProcess(config, Recording(socket=f"{environ['TMPDIR']}/s"), environ, log, sys.__stderr__)


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Fewer than all, for with each death the next start is put off: which of all are refused is `framing`'s to say."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    return [NONSENSE[name] for name in ("an impossible length", "an unknown kind", "wrong fields", "the end")]


def test_gateways(some: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, some)

    async def works() -> None:
        one.publish(Table(generation=1, routes=(), pools=()))
        await one.until(lambda: one.in_force)
        assert len(await one.stats(PATIENCE_S)) == 1
        assert one.restarts == len(some)

    one = gateways(host.log, host.environ)
    host.run(one.run(), works())
    assert len(host.events("gateway ended")) == len(some)
    assert len(host.events("gateway broke the protocol")) == len(some) - 1


def test_the_agent(some: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, some)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")

    async def works() -> None:
        await until(lambda: one.restarts == len(some))
        resolved = await one.resolve(model.as_uri())
        assert resolved.source == str(model)
        assert one.reached_s is None, "a directory is no registry"

    one = agent(host.log, host.environ)
    host.run(one.run(), works())
    assert len(host.events("registry agent broke the protocol")) == len(some) - 1


def test_the_recorder(some: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, some)

    async def works() -> None:
        await until(lambda: len(host.events("recorder ended")) == len(some))
        await until(lambda: one.pid)
        assert await one.samples(PATIENCE_S)

    one = recorder(host.log, host.environ)
    host.run(one.run(), works())
    assert len(host.events("recorder broke the protocol")) == len(some) - 1


def test_a_fault_of_ours_costs_the_process_that_met_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done with a message raises: told with its traceback, and the others go on."""
    host = Host(tmp_path, monkeypatch, [framing.encode(Hazard("pool", {"nan": 1}))] * 2)

    def raises(news: News) -> None:
        raise LookupError(f"no {news}")

    async def works() -> None:
        await one.until(lambda: one.in_force)

    one = gateways(host.log, host.environ, raises)
    host.run(one.run(), works())
    assert [("LookupError" in event["exception"]) for event in host.events("gateway could not be followed")] == [
        True
    ] * 2


def test_a_recorder_names_no_field_of_the_log_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields: dict[str, str | int | float | None] = {"event": "x", "level": "y", "timestamp": "z", "kept": "all"}
    host = Host(tmp_path, monkeypatch, [framing.encode(Told("warning", "said", fields))])

    async def works() -> None:
        await until(lambda: host.events("said"))

    host.run(recorder(host.log, host.environ).run(), works())
    (event,) = host.events("said")
    assert (event["level"], event["kept"]) == ("warning", "all")


# The three read with the same decoder: 'make nightly' sends each of them all of it.
ONCE = {"an unknown kind", "the end"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param(module, name, marks=[] if module == "gateway" or name in ONCE else [pytest.mark.slow])
        for module in ("gateway", "registry", "recorder")
        for name in NONSENSE
    ],
)
def test_a_process_whose_supervisor_speaks_nonsense_ends(module: str, name: str, tmp_path: Path) -> None:
    data = NONSENSE[name]
    ours, theirs = socket.socketpair()
    settings = {"home": str(tmp_path), "registry_key": "", "tracking_uri": None, "registry_uri": None}
    arguments = {"gateway": ["--index", "0"], "registry": [json.dumps({**settings, "timeout_s": 1, "warm": False})]}
    with ours, theirs:
        command = [sys.executable, "-m", f"headrace.{module}", "--control-fd", str(theirs.fileno())]
        process = subprocess.Popen([*command, *arguments.get(module, [])], pass_fds=[theirs.fileno()])
        theirs.close()
        ours.sendall(data) if data else ours.close()
        try:
            assert process.wait(PATIENCE_S) in {0, 1}
        finally:
            process.kill()
            process.wait()
