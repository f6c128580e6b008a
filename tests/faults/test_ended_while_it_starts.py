"""SIGTERM and SIGINT at any moment of the start: it ends at once and in order, says nothing odd, and leaves nothing."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.environment_rig import TOOLS
from tests.faults.hostile_registry import hostile_registry, saying
from tests.integration.serving import HEADRACE, Serving, until
from tests.registries import place

PATIENCE_S = 20.0  # an orderly drain of nobody takes less than a second; one that waited for a model or a gateway 32
MOMENTS = 40
SIGNALS = (signal.SIGTERM, signal.SIGINT)
FEW = ((signal.SIGTERM, 4), (signal.SIGINT, 12), (signal.SIGTERM, 21), (signal.SIGINT, 31))
EITHER = (signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow))


def starting(registry: str, directory: Path, environ: dict[str, str] | None = None, **model: Any) -> Serving:
    temporary = directory / "tmp"
    temporary.mkdir()
    models = {"mood": {"uri": "models:/mood@production", "port": 0, "environment": "local", **model}}
    document = {"registry": {"tracking_uri": registry}, "admin": {"port": 0}, "log": {"access": "full"},
                "models": models}  # fmt: skip
    file = directory / "headrace.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return Serving(["--config", str(file)], directory, {"TMPDIR": str(temporary), **(environ or {})})


def begun(one: Serving) -> None:
    """Wait until the interpreter has come as far as our own first line: it has a handler for SIGTERM."""

    def caught() -> bool:
        status = Path(f"/proc/{one.process.pid}/status").read_text()
        mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    until(caught, "the handler")


def ends_at_once(one: Serving, number: signal.Signals, directory: Path) -> None:
    family = psutil.Process(one.process.pid).children(recursive=True)
    one.process.send_signal(number)
    try:
        code = one.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        one.process.kill()
        raise AssertionError(f"it goes on: {one.events[-5:]}") from None
    finally:
        output = closed(one)
    assert code == 0
    assert output == ""
    assert one.other_lines == []
    assert not [event for event in one.events if event["level"] == "error" or "exception" in event]
    _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert left == []
    assert not [path.name for path in (directory / "tmp").iterdir() if path.name.startswith("headrace-")]


def closed(one: Serving) -> str:
    """What it has printed; nothing is left open."""
    output = one.process.stdout.read() if one.process.stdout else ""
    one._reader.join(PATIENCE_S)
    for stream in (one.process.stdout, one.process.stderr):
        if stream:
            stream.close()
    return output


@pytest.fixture(scope="module")
def start_s(registry: str, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a start takes here, from our first line to the first model."""
    one = starting(registry, tmp_path_factory.mktemp("start"))
    begun(one)
    began_s = time.monotonic()
    one.event("up")
    took_s = time.monotonic() - began_s
    one.stop()
    closed(one)
    # A stop is no crash: nobody is told that workers ran out of memory.
    assert not [event for event in one.events if "SIGKILL" in str(event) or event["level"] in {"warning", "error"}]
    return took_s


def test_a_few_moments(registry: str, tmp_path: Path, start_s: float) -> None:
    _all(registry, tmp_path, start_s, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_forty_moments(registry: str, tmp_path: Path, start_s: float) -> None:
    _all(registry, tmp_path, start_s, itertools.product(SIGNALS, range(MOMENTS)))


def _all(registry: str, tmp_path: Path, start_s: float, moments: Any) -> None:
    for number, moment in moments:
        directory = tmp_path / f"{number.name}-{moment}"
        directory.mkdir()
        one = starting(registry, directory)
        begun(one)
        time.sleep(start_s * 0.95 * moment / MOMENTS)  # the moment is what is tried, not what is waited for
        if any(event["event"] == "up" for event in one.events):
            one.stop()  # this start was quicker
            closed(one)
        else:
            ends_at_once(one, number, directory)


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """An address where somebody takes connections and never says anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        listener.settimeout(PATIENCE_S * 3)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


@pytest.mark.parametrize("number", EITHER)
def test_while_the_registry_hangs(number: signal.Signals, tmp_path: Path) -> None:
    with silent_server() as (address, listener):
        one = starting(address, tmp_path)
        asked, _ = listener.accept()
        with asked:
            ends_at_once(one, number, tmp_path)


def test_while_the_registry_refuses_to_answer(tmp_path: Path) -> None:
    with hostile_registry(tmp_path) as registry:
        registry.behaviours["model"] = saying(b'{"error_code": "UNAUTHENTICATED"}', 401)
        one = starting(registry.uri, tmp_path)
        one.event("registry problem")
        ends_at_once(one, signal.SIGTERM, tmp_path)
        assert not [event for event in one.events if event["event"] == "not everything was finished in time"]


@pytest.mark.parametrize("number", EITHER)
def test_while_a_model_loads(number: signal.Signals, registry: str, tmp_path: Path) -> None:
    slow = {"MOODY_SLOW_LOAD": "300", "HEADRACE_PASS_ENV": "MOODY_*"}
    one = starting(registry, tmp_path, slow, uri=place(registry, "moody/1"))
    one.event("worker started")
    ends_at_once(one, number, tmp_path)


@pytest.mark.parametrize("number", EITHER)
def test_while_an_environment_is_built(number: signal.Signals, registry: str, tmp_path: Path) -> None:
    with silent_server() as (index, listener):
        variables = {**TOOLS, "UV_DEFAULT_INDEX": f"{index}/simple", "UV_CACHE_DIR": str(tmp_path / "cache")}
        for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS", "PIP_NO_INDEX"):
            variables.pop(name, None)
        one = starting(registry, tmp_path, variables, environment="exact")
        asked, _ = listener.accept()
        with asked:
            ends_at_once(one, number, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_other_commands_end_while_they_import(number: signal.Signals, code: int) -> None:
    # Before any command is known, as while it is imported.
    script = "import os, signal; from headrace.cli import start; import sys; sys.argv = ['headrace', 'status']\n"
    script += "import headrace.cli.main as m; m.main = lambda _: os.kill(os.getpid(), int(sys.stdin.read())) or 1\n"
    script += "start.main()"
    done = subprocess.run(
        [sys.executable, "-c", script], input=str(int(number)), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_command_that_runs_ends_as_python_programs_do() -> None:
    with silent_server() as (address, listener):
        command = [HEADRACE, "status", "--admin", address]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        asked, _ = listener.accept()
        with asked:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in said
