"""A model with its faster form and without, in turn on one machine.

    python benchmarks/compiled.py [--kind NAME] [--rounds N] [--seconds S] [--replicas N] [--work DIR]

By default a random forest: 100 trees of depth 8, 20 columns, `predict_proba`. The models are those of benchmarks/kinds.
Needs wrk. The table has
medians: when the first answer came after the start, half of all requests of one connection, requests/s of 64, rows/s of
requests with 256 rows, and the memory of all processes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from beside import load  # noqa: E402 - run as a script
from beside.measure import ask  # noqa: E402 - run as a script
from beside.processes import Running, free_port  # noqa: E402 - run as a script

HERE = Path(__file__).resolve().parent
PATIENCE_S = 180.0
COLUMNS = {
    "up_s": "first answer", "one_ms": "p50, 1 connection", "per_s": "requests/s, 64 connections",
    "p99_ms": "p99 of them", "rows_per_s": "rows/s, 256 a request", "pss_mb": "memory",
}  # fmt: skip


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--kind", default="forest", help="another kind of benchmarks/kinds")
    parser.add_argument("--work", type=Path, default=Path(".bench/kinds"))
    given = parser.parse_args()
    models = given.work.absolute()
    subprocess.run([sys.executable, str(HERE / "kinds" / "make.py"), str(models), given.kind], check=True)
    requests = json.loads((models / given.kind / "requests.json").read_text())[0]
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(given.rounds):
        for way in ("off", "auto"):
            measured = _measure(models / given.kind / "model", requests, way, given)
            print(number + 1, way, {name: round(value, 2) for name, value in measured.items()}, flush=True)
            for name, value in measured.items():
                found.setdefault((way, name), []).append(value)
    print("| `compile` |", " | ".join(COLUMNS.values()), "|")
    print("|---|" + "---:|" * len(COLUMNS))
    for way in ("off", "auto"):
        print(f"| {way} |", " | ".join(f"{statistics.median(found[way, name]):,.2f}" for name in COLUMNS), "|")


def _measure(model: Path, requests: list[Any], way: str, given: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="compiled-") as place:
        work, port = Path(place), free_port()
        entry = {"uri": str(model), "port": port, "environment": "local", "replicas": given.replicas, "compile": way}
        admin = free_port()
        config = {
            "admin": {"port": admin},
            "health": {"hung_after_s": 4},
            "models": {"m": entry},
            "home": str(work / "home"),
            "log": {"level": "warning"},
        }
        (work / "headrace.yaml").write_text(yaml.safe_dump(config))
        command = [str(Path(sys.executable).with_name("headrace")), "serve", "--config", str(work / "headrace.yaml")]
        running = Running(command, log=work / "log", environ={}, directory=work)
        try:
            up_s = _until_up(running, port, requests[0])
            bodies = [("/invocations", json.dumps(request)) for request in requests]
            rows = [request["dataframe_split"]["data"][0] for request in requests]
            many = {"dataframe_split": {**requests[0]["dataframe_split"], "data": (rows * 2)[:256]}}
            load.run(port, bodies, connections=64, seconds=2)
            if way == "auto":
                _until_compiled(admin, port, bodies)
            wide = load.run(port, bodies, connections=64, seconds=given.seconds)
            one = load.run(port, bodies, connections=1, seconds=max(given.seconds // 2, 1))
            large = load.run(
                port,
                [("/invocations", json.dumps(many))],
                connections=given.replicas,
                seconds=max(given.seconds // 2, 1),
            )
            memory_mb = running.pss_mb()
        finally:
            running.stop()
        if wide.bad or wide.broken or one.bad or large.bad:
            raise SystemExit(f"answers were no success: {(work / 'log').read_text()[-500:]}")
    return {
        "up_s": up_s,
        "one_ms": one.p50_ms,
        "per_s": wide.per_s,
        "p99_ms": wide.p99_ms,
        "rows_per_s": large.per_s * 256,
        "pss_mb": memory_mb,
    }


def _until_compiled(admin: int, port: int, bodies: list[tuple[str, str]]) -> None:
    """Send requests until all replicas have compared enough of them."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/models", timeout=30) as answer:
            told = json.load(answer)["models"][0]["current"]["compiled"]
        if told["state"] == "compiled":
            return
        if told["state"] in {"none", "refused"}:
            break
        load.run(port, bodies, connections=64, seconds=2)
        time.sleep(1)
    raise SystemExit(f"it is not answered by a faster form: {told}")


def _until_up(running: Running, port: int, request: Any) -> float:
    while time.monotonic() - running.started_s < PATIENCE_S and running.process.poll() is None:
        try:
            if ask(port, "/invocations", request)[0] == 200:
                return time.monotonic() - running.started_s
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    raise SystemExit("it does not serve")


if __name__ == "__main__":
    main()
