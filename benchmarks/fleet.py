"""Many copies of the news model behind one port: how long they take to come up, and what they hold of memory.

    python benchmarks/fleet.py [--models N,...] [--only SERVER,...] [--state DIR] [--out FILE]

SERVER is `shared` (headrace as it is configured by default), `apart` (with environments.share_imports: false) or
`mlserver` (where `--mlserver DIR` is a virtual environment with mlserver and mlserver-mlflow). Memory is the sum of the
proportional shares (PSS) of every process of a server, in MB. Each is started twice with the same home, and both starts
are told: the first one learns what models import.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from beside.models import prepare  # noqa: E402 - run as a script
from beside.processes import Running, free_port, pss_mb  # noqa: E402 - run as a script

PATIENCE_S = 900.0
SETTLE_S = 3.0
HEADRACE = str(Path(sys.executable).with_name("headrace"))
TEXT = "stocks fall as the central bank raises its rates"
HEAD = """\
| server | models | start | first answer, s | all have answered, s | PSS, MB | of that the models' processes, MB each |
|---|---:|---|---:|---:|---:|---:|"""


@dataclass
class Server:
    """What is measured: the command that starts it in a folder, and how a model is asked."""

    name: str
    command: list[str]
    path: str
    body: str


def headrace(folder: Path, model: Path, count: int, port: int, *, shared: bool) -> Server:
    """Headrace with so many copies."""
    document = {
        "gateway": {"port": port},
        "admin": None,
        "home": str(folder / "home"),
        "environments": {"share_imports": shared},
        "models": {f"m{n}": {"uri": str(model), "environment": "local"} for n in range(count)},
    }
    file = folder / "headrace.yaml"
    file.write_text(yaml.safe_dump(document))
    name = "headrace" if shared else "headrace, share_imports: false"
    body = json.dumps({"inputs": [TEXT]})
    return Server(name, [HEADRACE, "serve", "--config", str(file)], "/models/m{}/invocations", body)


def mlserver(folder: Path, model: Path, count: int, port: int, environment: Path) -> Server:
    """MLServer with so many copies: one process has all of them, as is its default."""
    models = folder / "models"
    models.mkdir(exist_ok=True)
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 1}
    (models / "settings.json").write_text(json.dumps(settings))
    for number in range(count):
        one = models / f"m{number}"
        one.mkdir(exist_ok=True)
        told = {
            "name": f"m{number}",
            "implementation": "mlserver_mlflow.MLflowRuntime",
            "parameters": {"uri": str(model)},
        }
        (one / "model-settings.json").write_text(json.dumps(told))
    given = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT], "parameters": {"content_type": "str"}}
    body = json.dumps({"inputs": [given], "parameters": {"content_type": "pd"}})
    return Server(
        "MLServer", [str(environment / "bin" / "mlserver"), "start", str(models)], "/v2/models/m{}/infer", body
    )


def measure(server: Server, start: str, folder: Path, count: int, port: int) -> str:
    """Start it and ask each model until it answers; returns a row of the table."""
    log = folder / "log"
    running = Running(server.command, log=log, environ={}, directory=folder)
    try:
        left, first_s = set(range(count)), 0.0
        while left:
            if time.monotonic() - running.started_s > PATIENCE_S or running.process.poll() is not None:
                raise SystemExit(f"{server.name}: models {sorted(left)} do not answer:\n{log.read_text()[-3000:]}")
            for number in sorted(left):
                if answers(port, server.path.format(number), server.body):
                    left.discard(number)
                    first_s = first_s or time.monotonic() - running.started_s
            time.sleep(0.02)
        all_s = time.monotonic() - running.started_s
        time.sleep(SETTLE_S)  # a process that comes after the first answer
        parts = [(pss_mb(process.pid), " ".join(process.cmdline())) for process in running.tree()]
    finally:
        running.stop()
    total = sum(mb for mb, _ in parts)
    each = sum(mb for mb, line in parts if "headrace_worker" in line) / count
    told = (server.name, count, start, f"{first_s:.1f}", f"{all_s:.1f}", f"{total:.0f}", f"{each or total / count:.0f}")
    return f"| {' | '.join(map(str, told))} |"


def answers(port: int, path: str, body: str) -> bool:
    """Whether a model answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status == 200
    return False


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="1,10")
    parser.add_argument("--only", default="shared,apart")
    parser.add_argument("--state", type=Path, default=Path(".bench"))
    parser.add_argument("--mlserver", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = prepare(given.state, {"topic"})["topic"].absolute()
    lines = [HEAD]
    print(HEAD, flush=True)
    for count in (int(text) for text in given.models.split(",")):
        for name in given.only.split(","):
            with tempfile.TemporaryDirectory(prefix="fleet-") as text:
                folder = Path(text)
                for start in ("first", "second"):
                    port = free_port()
                    server = (
                        mlserver(folder, model, count, port, given.mlserver.absolute())
                        if name == "mlserver"
                        else headrace(folder, model, count, port, shared=name == "shared")
                    )
                    lines.append(measure(server, start, folder, count, port))
                    print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
