"""What nothing can beat: the port answering a constant, the model predicting in process; and headrace's own parts."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from beside import load
from beside.cases import CASES, payloads
from beside.processes import Running, free_port, pss_mb

_HERE = Path(__file__).parent
_ROLES = {"supervisor": "headrace serve", "agent": "headrace.registry", "gateway": "headrace.gateway",
          "host": "role=host", "replica": "role=replica"}  # fmt: skip


def measure(model: Path, found: dict[str, list[float]], *, seconds: float) -> None:
    """Measure everything once and add it to `found`, by name."""
    for name, value in {**_alone(model), **_constant(seconds), **_parts(model, seconds)}.items():
        found.setdefault(name, []).append(value)


def _alone(model: Path) -> dict[str, float]:
    out = subprocess.run(
        [sys.executable, str(_HERE / "alone.py"), str(model)], capture_output=True, text=True, check=True
    ).stdout
    return {f"alone_{name}": value for name, value in json.loads(out.splitlines()[-1]).items()}


def _constant(seconds: float) -> dict[str, float]:
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        command = [sys.executable, str(_HERE / "constant.py"), str(port)]
        running = Running(command, log=Path(directory, "log"), environ={}, directory=Path(directory))
        try:
            _until_answers(port, "/invocations", b"{}")
            for case in CASES:
                if case.name in {"single-1", "single-64", "single-256"}:
                    requests = [("/models/m/invocations", json.dumps(p)) for p in payloads(case)]
                    load.run(port, requests, connections=case.connections, seconds=1)
                    before_s = running.cpu_s()
                    done = load.run(port, requests, connections=case.connections, seconds=seconds)
                    found[f"constant_{case.connections}_per_s"] = done.per_s
                    found[f"constant_{case.connections}_p50_ms"] = done.p50_ms
                    found[f"constant_{case.connections}_cpu_us"] = (running.cpu_s() - before_s) / done.requests * 1e6
        finally:
            running.stop()
    return found


def _parts(model: Path, seconds: float) -> dict[str, float]:
    """Memory of each of headrace's processes at rest, start-up with warm caches, the gateway's CPU a request."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        config = home / "headrace.yaml"
        for _ in range(2):  # the first fills the artifact cache
            port = free_port()
            entry = {"uri": str(model), "port": port, "replicas": 2, "environment": "local"}
            config.write_text(
                yaml.safe_dump({"models": {"m": entry}, "admin": {"port": 0}, "home": str(home / "home"),
                                "log": {"level": "warning"}})
            )  # fmt: skip
            command = [str(Path(sys.executable).with_name("headrace")), "serve", "--config", str(config)]
            running = Running(command, log=home / "log", environ={}, directory=home)
            try:
                _until_answers(port, "/invocations", json.dumps(payloads(CASES[0])[0]).encode())
                found["start_s"] = time.monotonic() - running.started_s
                _until(lambda running=running: len(_of(running, "replica")) == 2)
                for role in _ROLES:
                    found[f"pss_{role}_mb"] = sum(pss_mb(p.pid) for p in _of(running, role))
                    found[f"rss_{role}_mb"] = max(
                        (p.memory_info().rss / 1048576 for p in _of(running, role)), default=0.0
                    )
                gateway = _of(running, "gateway")[0]
                for case in CASES[2:4]:
                    requests = [("/invocations", json.dumps(p)) for p in payloads(case)]
                    load.run(port, requests, connections=case.connections, seconds=1)
                    before = gateway.cpu_times()
                    done = load.run(port, requests, connections=case.connections, seconds=seconds)
                    after = gateway.cpu_times()
                    cpu_s = after.user + after.system - before.user - before.system
                    found[f"gateway_{case.connections}_cpu_us"] = cpu_s / done.requests * 1e6
                found["rss_gateway_loaded_mb"] = gateway.memory_info().rss / 1048576
            finally:
                running.stop()
    return found


def _of(running: Running, role: str) -> list[psutil.Process]:
    found = []
    for process in running.tree():
        try:
            if _ROLES[role] in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _until_answers(port: int, path: str, body: bytes) -> None:
    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    _until(answers)


def _until(condition: Any) -> None:
    deadline_s = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("headrace did not come up")
        time.sleep(0.01)
