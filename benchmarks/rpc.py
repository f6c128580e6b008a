"""headrace's gRPC beside MLServer's: python benchmarks/rpc.py [--seconds N] [--connections N].

The same MLflow model (the sum of three numbers of FP32, raw contents) behind both, in turn, two rounds; MLServer in an
environment of its own, with the model in the server's process (no hop to a worker). The load is written frame by frame
(a client library would be slower than the servers): each connection has one call open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import uvloop

from headrace.gateway.grpc import frames, schema
from headrace.gateway.grpc.headers import literal

ROOT = Path(__file__).resolve().parent.parent
MLSERVER = ["mlserver==1.7.1", "mlserver-mlflow==1.7.1"]
WARM_S = 2.0


def request() -> bytes:
    """The message of every call, with its prefix."""
    asked = schema.kind("inference.ModelInferRequest")(model_name="sum")
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    asked.raw_input_contents.append(b"\0\0\x80?" * 3)
    data = asked.SerializeToString()
    return b"\0" + len(data).to_bytes(4) + data


HEAD = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"grpc-bench"),
    )
)


class Caller(asyncio.Protocol):
    """One connection, one call at a time; `took` has the time of each."""

    def __init__(self, took: list[float]) -> None:
        self._took = took
        self._number = -1
        self._answered = False
        self._buffer = b""
        self._body = request()
        self._begun_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, b""))
        self._transport.write(frames.window_update(0, 1 << 30))
        self._call()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        data = self._buffer + data
        at, size = 0, len(data)
        while size - at >= frames.HEAD_BYTES:
            length, kind, flags, number = frames.head(data, at)
            end = at + frames.HEAD_BYTES + length
            if end > size:
                break
            if kind == frames.HEADERS and flags & frames.END_STREAM and number == self._number:
                if not self._answered:
                    raise RuntimeError(f"an error: {data[at:end]!r}")
                self._took.append(time.perf_counter() - self._begun_s)
                self._call()
            elif kind == frames.DATA:
                self._answered = True
            elif kind in {frames.SETTINGS, frames.PING} and not flags & frames.ACK:
                payload = b"" if kind == frames.SETTINGS else data[at + frames.HEAD_BYTES : end]
                self._transport.write(frames.frame(kind, frames.ACK, 0, payload))
            elif kind == frames.GOAWAY:
                raise RuntimeError(f"the server leaves: {data[at:end]!r}")
            at = end
        self._buffer = data[at:]

    def _call(self) -> None:
        self._number += 2
        self._answered = False
        self._begun_s = time.perf_counter()
        self._transport.write(
            frames.frame(frames.HEADERS, frames.END_HEADERS, self._number, HEAD)
            + frames.frame(frames.DATA, frames.END_STREAM, self._number, self._body)
        )


def cpu_s(server: psutil.Process) -> float:
    """The processor time of a server, with all processes that it has."""
    return sum(sum(one.cpu_times()[:2]) for one in (server, *server.children(recursive=True)))


async def load(port: int, connections: int, seconds: float, server: psutil.Process) -> tuple[float, float, float]:
    """(calls a second, the median time of one in ms, its processor time at the server in µs)."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Caller(took), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(WARM_S)
    took.clear()
    begun_s, before_s = time.perf_counter(), cpu_s(server)
    await asyncio.sleep(seconds)
    found, spent_s = list(took), cpu_s(server) - before_s
    rate = len(found) / (time.perf_counter() - begun_s)
    for transport, _ in made:
        transport.abort()
    return rate, 1000 * statistics.median(found), 1e6 * spent_s / len(found)


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


@contextmanager
def serving(command: list[str], ready: str, environ: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """A server that is ready."""
    with log.open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environ})
        try:
            for _ in range(600):
                try:
                    with urllib.request.urlopen(ready, timeout=2) as answer:  # noqa: S310 - a server of ours
                        if answer.status == 200:
                            break
                except OSError:
                    time.sleep(0.2)
            else:
                raise SystemExit(f"not ready: see {log}")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def headrace(directory: Path, http: int, grpc: int) -> tuple[list[str], str, dict[str, str]]:
    """How headrace is started: as it starts by default."""
    command = [str(Path(sys.executable).with_name("headrace")), "serve", "-m", str(directory / "sum"), "--name", "sum"]
    command += ["-p", str(http), "--grpc-port", str(grpc), "--env-manager", "local", "--admin-port", "0"]
    return command, f"http://127.0.0.1:{http}/ping", {"HEADRACE_HOME": str(directory / "home")}


def mlserver(directory: Path, http: int, grpc: int) -> tuple[list[str], str, dict[str, str]]:
    """How MLServer is started, as quick as it can be: without a worker."""
    settings = directory / "settings"
    (settings / "sum").mkdir(parents=True, exist_ok=True)
    model = {"name": "sum", "implementation": "mlserver_mlflow.MLflowRuntime"}
    model = {**model, "parameters": {"uri": str(directory / "sum"), "version": "1"}}  # type: ignore[dict-item]
    (settings / "sum" / "model-settings.json").write_text(json.dumps(model))
    (metrics,) = free_ports(1)
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics, "host": "127.0.0.1"}
    (settings / "settings.json").write_text(json.dumps({**ports, "parallel_workers": 0, "debug": False}))
    ready = f"http://127.0.0.1:{http}/v2/models/sum/ready"
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
    return [str(directory / "mlserver" / "bin" / "mlserver"), "start", str(settings)], ready, tracking


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(directory / "mlserver")], check=True)
        python = str(directory / "mlserver" / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *MLSERVER], check=True)
        tracking = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
        models = [python, str(ROOT / "tests" / "inference_rig" / "models.py"), str(directory)]
        subprocess.run(models, check=True, capture_output=True, env=tracking)
        servers: dict[str, Callable[[int, int], tuple[list[str], str, dict[str, str]]]] = {
            "headrace": lambda http, grpc: headrace(directory, http, grpc),
            "MLServer": lambda http, grpc: mlserver(directory, http, grpc),
        }
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
        for _ in range(given.rounds):
            for name, start in servers.items():
                http, grpc = free_ports(2)
                runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
                with serving(*start(http, grpc), directory / "log") as server, runner:
                    found[name].append(runner.run(load(grpc, given.connections, given.seconds, server)))
        for name, measured in found.items():
            rate, median, spent = (statistics.median(one[place] for one in measured) for place in range(3))
            print(f"{name}: {rate:,.0f}/s, p50 {median:.2f} ms, {spent:,.0f} µs of CPU a call", flush=True)


if __name__ == "__main__":
    main()
