"""Models that wait, and streams: headrace as it is configured by default beside `mlflow models serve -w 2`.

    python benchmarks/waiting.py [--seconds S] [--only CASE,...] [--out FILE]

Prints a table as docs/benchmarks/waiting.md has it. Each case is measured with one server after the other, so that what
else runs on the machine hurts both.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from beside import load  # noqa: E402 - run as a script
from beside.processes import Running, free_port  # noqa: E402 - run as a script

PATIENCE_S = 120.0
MODEL = '''
import time

import mlflow
from mlflow.pyfunc import PythonModel


class Waiting(PythonModel):
    """Text 'sleep S' waits, 'burn S' computes; a stream 'COUNT S' gives the time of each piece, S seconds apart."""

    def predict(self, model_input: list[str]) -> list[str]:
        for text in model_input:
            order, seconds = text.split(" ")
            if order == "sleep":
                time.sleep(float(seconds))
            until_s = time.thread_time() + float(seconds)
            while order == "burn" and time.thread_time() < until_s:
                pass
        return model_input

    def predict_stream(self, context, model_input, params=None):
        text = model_input[0] if isinstance(model_input, list) else model_input
        count, seconds = str(text).split(" ")
        for _ in range(int(count)):
            yield repr(time.time())
            time.sleep(float(seconds))


mlflow.models.set_model(Waiting())
'''


@dataclass(frozen=True)
class Case:
    """`connections` ask `text` again and again; `possible` is what 2 replicas could do at most, where that is known."""

    title: str
    text: str
    connections: int
    settings: tuple[tuple[str, Any], ...] = ()
    with_mlflow: bool = True


CASES = {
    "wait": Case("waits 0.3 s, 64 connections", "sleep 0.3", 64),
    "many": Case("waits 2 s, 1,000 connections", "sleep 2", 1000),
    "alone": Case("waits 0.3 s, 1 connection", "sleep 0.3", 1),
    "short": Case("computes 1 ms, 64 connections", "burn 0.001", 64),
    "short1": Case(
        "computes 1 ms, 64 connections, `concurrency: 1`",
        "burn 0.001",
        64,
        settings=(("concurrency", 1),),
        with_mlflow=False,
    ),
    "long": Case("computes 0.2 s, 8 connections", "burn 0.2", 8),
    "long1": Case(
        "computes 0.2 s, 8 connections, `concurrency: 1`",
        "burn 0.2",
        8,
        settings=(("concurrency", 1),),
        with_mlflow=False,
    ),
}


def main() -> int:
    """Run the command; returns its exit code."""
    options = _parse()
    lines = ["| case | server | requests/s | p50 | p99 | memory a call under way |", "|---|---|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(prefix="waiting") as directory:
        work = Path(directory)
        model = _save(work)
        for name, case in CASES.items():
            if options.only and name not in options.only:
                continue
            servers = ["headrace", "mlflow -w 2"] if case.with_mlflow and not options.no_mlflow else ["headrace"]
            for server in servers:
                line = f"| {case.title} | {server} | {_measure(server, model, work, case, options.seconds)} |"
                print(line, flush=True)
                lines.append(line)
        if not options.only or "streams" in options.only:
            for line in _streams(model, work):
                print(line, flush=True)
                lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--no-mlflow", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _save(work: Path) -> Path:
    import mlflow  # noqa: PLC0415 - not for --help

    script = work / "waiting_model.py"
    script.write_text(MODEL)
    mlflow.pyfunc.save_model(path=str(work / "model"), python_model=str(script), pip_requirements=["mlflow"])
    return work / "model"


@contextmanager
def _serving(
    server: str, model: Path, work: Path, settings: tuple[tuple[str, Any], ...] = (), text: str = "sleep 0.3"
) -> Iterator[Any]:
    """(the server, its port), once it answers `text`."""
    port = free_port()
    bin_directory = Path(sys.executable).parent
    path = f"{bin_directory}{os.pathsep}{os.environ.get('PATH', '')}"  # MLflow looks for uvicorn there
    if server == "headrace":
        file = work / "headrace.yaml"
        config: dict[str, Any] = {
            "admin": {"port": 0},
            "gateway": {"port": None},
            "models": {"m": {"uri": str(model), "port": port, "environment": "local", "replicas": 2, **dict(settings)}},
            "home": str(work / "home"),
            "log": {"level": "warning"},
        }
        file.write_text(yaml.safe_dump(config))
        command = [str(bin_directory / "headrace"), "serve", "--config", str(file)]
    else:
        command = [str(bin_directory / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", "local"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    environ = {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = work / f"{server.split(maxsplit=1)[0]}.log"
    running = Running(command, log=log, environ=environ, directory=work)
    try:
        _until_serving(running, port, log, json.dumps({"inputs": [text]}))
        yield running, port
    finally:
        running.stop()


def _until_serving(running: Running, port: int, log: Path, body: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = answer.read()
            connection.close()
            if answer.status == 200:
                return
        except OSError as error:
            told = str(error).encode()
        if running.process.poll() is not None or time.monotonic() > until_s:
            raise SystemExit(f"does not serve: {told!r}\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def _measure(server: str, model: Path, work: Path, case: Case, seconds: float) -> str:
    requests = [("/invocations", json.dumps({"inputs": [case.text]}))]
    with _serving(server, model, work, case.settings, case.text) as (running, port):
        idle_mb = running.pss_mb()
        load.run(port, requests, connections=case.connections, seconds=6.0)  # does not count
        peak = _Peak(running)
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(load.run, port, requests, connections=case.connections, seconds=seconds)
            peak.watch(found.done)
        measured = found.result()
        each_kb = max(0.0, peak.mb - idle_mb) * 1024 / case.connections
    failed = f", {measured.bad + measured.broken} failed" if measured.bad + measured.broken else ""
    memory = f"{each_kb:.0f} KB" if case.text.startswith("sleep") and case.connections > 1 else ""
    return f"{measured.per_s:.1f}{failed} | {measured.p50_ms:,.1f} ms | {measured.p99_ms:,.1f} ms | {memory}"


class _Peak:
    def __init__(self, running: Running) -> None:
        self._running = running
        self.mb = 0.0

    def watch(self, done: Any) -> None:
        while not done():
            self.mb = max(self.mb, self._running.pss_mb())
            time.sleep(0.5)


def _streams(model: Path, work: Path) -> Iterator[str]:
    """How late the first chunk comes, unloaded, and what 500 clients of one worker get."""
    with _serving("headrace", model, work, (("replicas", 1),)) as (_, port):
        firsts = [asyncio.run(_all_streams(port, 1, "1 0"))[0][0] for _ in range(300)]
        firsts.sort()
        p50, p99 = statistics.median(firsts) * 1e3, firsts[int(len(firsts) * 0.99)] * 1e3
        yield f"| streams: first chunk after the model gave it, unloaded | headrace | | {p50:.2f} ms | {p99:.2f} ms | |"
        asyncio.run(_all_streams(port, 100, "10 0.1"))  # does not count
        began_s = time.monotonic()
        late = asyncio.run(_all_streams(port, 500, "20 0.2"))
        took_s = time.monotonic() - began_s
        chunks = sorted(one for stream in late for one in stream)
        p50, p99 = statistics.median(chunks) * 1e3, chunks[int(len(chunks) * 0.99)] * 1e3
        rate = len(chunks) / took_s
        title = "500 streams of 20 chunks, 0.2 s apart, from one worker"
        yield f"| {title} | headrace | {rate:.0f} chunks/s | {p50:.2f} ms | {p99:.2f} ms | |"


async def _all_streams(port: int, count: int, text: str) -> list[list[float]]:
    """How long after the model gave it each chunk came, for each of `count` streams at once."""
    return list(await asyncio.gather(*(_stream(port, text) for _ in range(count))))


async def _stream(port: int, text: str) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"inputs": [text]}).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    late: list[float] = []
    while (line := await reader.readline()) and not line.startswith(b"data: [DONE]"):
        if line.startswith(b"data: "):
            late.append(time.time() - float(json.loads(line[6:])))
        elif line.startswith((b"event: error", b"HTTP/1.1 4", b"HTTP/1.1 5")):
            raise SystemExit(f"a stream has failed: {line!r} {(await reader.read(500))!r}")
    writer.close()
    return late


if __name__ == "__main__":
    sys.exit(main())
