"""A process that is there and does nothing: noticed, replaced, and told, whichever it is."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.faults.test_process_death import HAPPY, config, pids
from tests.integration.serving import HEADRACE, Serving, ask, serving, until
from tests.processes import command, family
from tests.registries import place

LIMIT_S = 2.0


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that takes two seconds of silence for a hang, with one model of two replicas."""
    document = config(registry, mood={"uri": place(registry, "mood/1"), "replicas": 2, "timeout_s": 1.0})
    document["health"] = {"hung_after_s": LIMIT_S}
    document["log"] = {"slow_s": 60.0}  # so that there is a recorder
    with serving(tmp_path_factory.mktemp("hung"), document) as running:
        until(lambda: running.status("mood")["replicas"]["ready"] == 2, "both replicas")
        until(lambda: pids(running, "role=host"), "the host")
        yield running


@pytest.mark.parametrize(
    ("role", "event"),
    [
        ("headrace.gateway", "gateway hung"),
        ("role=host", "worker host hung"),
        ("role=replica", "worker hung"),
        ("headrace.registry", "registry agent hung"),
        ("headrace.recorder", "recorder hung"),
    ],
)
def test_a_stopped_process_is_replaced(one: Serving, role: str, event: str) -> None:
    until(lambda: ask(f"{one.admin}/readyz").status == 200, "readiness before")
    before = pids(one, role)
    stopped = min(before)
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert one.event(event, pid=stopped)["silent_s"] >= LIMIT_S
        until(lambda: not psutil.pid_exists(stopped), "its end")
        until(lambda: len(pids(one, role)) == len(before), "a new one in its place")
        until(lambda: ask(f"{one.admin}/readyz").status == 200, "readiness after")
        assert ask(f"{one.url('mood')}/invocations", HAPPY).json == {"predictions": ["pos"]}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)


def test_nobody_is_blamed_for_a_pause_of_the_supervisor(one: Serving) -> None:
    family = pids(one, "headrace")
    supervisor = one.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            _ask_within(f"{one.admin}/livez", 0.5)
        assert ask(f"{one.url('mood')}/invocations", HAPPY).status == 200
        until_s = time.monotonic() + 2 * LIMIT_S
        until(lambda: time.monotonic() > until_s, "a pause that is longer than the limit")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    until(lambda: ask(f"{one.admin}/readyz").status == 200, "readiness")
    assert pids(one, "headrace") == family


def _ask_within(url: str, within_s: float) -> bytes:
    import urllib.request

    with urllib.request.urlopen(url, timeout=within_s) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.slow
def test_a_supervisor_whose_loop_hangs_is_replaced(registry: str, tmp_path: Path) -> None:
    """Its log goes to a pipe that nobody reads: the write that fills it never returns, and nor do those of the next."""
    document = config(registry, mood={"uri": place(registry, "mood/1")})
    document["health"] = {"hung_after_s": LIMIT_S}
    document["admin"] = {"port": 0}
    file = tmp_path / "headrace.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    reading, writing = os.pipe()
    environ = {**os.environ, "HEADRACE_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        [HEADRACE, "serve", "--config", str(file), "--log-level", "debug", "--log-format", "text"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writing,
        env=environ,
        start_new_session=True,
    )

    def those(role: str) -> set[int]:
        return {p.pid for p in family(process.pid) if role in command(p)}

    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(iter(lambda: os.read(reading, 65536), b"")))
    try:
        until(lambda: those("headrace.supervisor") and those("role=replica"), "the whole family")
        (supervisor,) = those("headrace.supervisor")
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writing, b"x" * 65536):
                pass
        os.set_blocking(writing, True)
        os.kill(min(those("headrace.gateway")), signal.SIGKILL)
        until(lambda: those("headrace.supervisor") - {supervisor}, "another supervisor")
        reader.start()
        until(lambda: b"taken over" in b"".join(said), "it to serve")
        assert b"exit code 70" in b"".join(said)
        running = family(process.pid)
        process.terminate()
        assert process.wait(60) == 0
        _, left = psutil.wait_procs(running, timeout=60)
        assert left == []
    finally:
        process.kill()
        process.wait()
        os.close(writing)
        if reader.ident is not None:
            reader.join()
        os.close(reading)


def test_a_supervisor_that_hangs_says_where() -> None:
    program = (
        "import asyncio, time\n"
        "from headrace.supervisor.processes.liveness import Heartbeat\n"
        "async def main():\n"
        "    beating = asyncio.create_task(Heartbeat(0.5).run())\n"
        "    await asyncio.sleep(0.2)\n"
        "    stand_still()\n"
        "def stand_still():\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 70
    assert "stood still" in done.stderr
    assert "in stand_still" in done.stderr
