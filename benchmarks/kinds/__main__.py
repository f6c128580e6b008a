"""headrace beside `mlflow models serve -w 2` for each kind of model, and what the model alone would reach.

    python benchmarks/kinds [--rounds N] [--seconds S] [--only NAME,...] [--work DIR] [--out FILE]

Run it with the Python of an environment that holds headrace, mlflow and the libraries of the kinds (requirements.txt);
a kind whose library is not there is left out. In each round each kind is served by the one and then by the other, so
that what else runs on the machine hurts both; the table holds medians.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from beside import load  # noqa: E402 - run as a script
from beside.measure import ask  # noqa: E402 - run as a script
from beside.processes import Running, free_port  # noqa: E402 - run as a script

from headrace_worker import wire  # noqa: E402 - run as a script
from headrace_worker.scoring.compare import AUTO, Judge  # noqa: E402 - run as a script

HERE = Path(__file__).resolve().parent
TITLES = {
    "linear": "linear regression, DataFrame of 20 columns",
    "logistic": "logistic regression, `predict_proba`",
    "mlp": "MLP, `predict_proba`",
    "network": "network on named float32 tensors, pyfunc",
    "onnx": "the same as ONNX",
    "hinted": "pyfunc with type hints (`list[str]`), 1 ms a call",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "forest": "random forest, `predict_proba`",
    "histgb": "hist. gradient boosting",
    "pipeline": "pipeline of numbers and texts",
    "statsmodels": "statsmodels OLS",
    "torch": "PyTorch network on float32 tensors",
    "sentences": "sentence embeddings (MiniLM, 384 floats)",
}
PATIENCE_S = 180.0


def main() -> int:
    """Run the command; returns its exit code."""
    options = _parse()
    names = [name for name in TITLES if not options.only or name in options.only]
    models = options.work.absolute() / "models"
    absent = [name for name in names if not (models / name / "requests.json").exists()]
    if absent:
        subprocess.run([sys.executable, str(HERE / "make.py"), str(models), *absent], check=True)
    found: dict[tuple[str, str], list[float]] = {}
    missing: dict[str, str] = {}
    for number in range(options.rounds):
        for name in names:
            if not (models / name / "requests.json").exists():
                missing[name] = "cannot be made here"
                continue
            try:
                measured = _round(models / name, options)
            except (RuntimeError, load.LoadFailed) as error:
                missing[name] = str(error)
                print(f"{name}: {error}", flush=True)
                continue
            for what, value in measured.items():
                found.setdefault((name, what), []).append(value)
            print(number + 1, name, {what: round(value, 2) for what, value in measured.items()}, flush=True)
            if options.out:  # as far as it is, whatever ends the run
                options.out.write_text(_table(names, found, missing, number + 1, options.seconds))
    return 0


def _round(directory: Path, options: argparse.Namespace) -> dict[str, float]:
    """One kind, once. Raises RuntimeError where one of the two does not serve, or they do not agree."""
    requests = json.loads((directory / "requests.json").read_text())[0]
    found = _alone(directory, options.seconds)
    with tempfile.TemporaryDirectory(prefix="kinds-") as place:
        work = Path(place)
        ours, measured = _serve(_headrace(directory / "model", work), requests, work, options)
        found.update({f"headrace_{what}": value for what, value in measured.items()})
        theirs, measured = _serve(_mlflow(directory / "model"), requests, work, options)
        found.update({f"mlflow_{what}": value for what, value in measured.items()})
    judge = Judge(AUTO, ours)
    if not all(map(judge.near, theirs, ours)):
        raise RuntimeError(f"the answers differ: {ours[0].body[:200]!r}, {theirs[0].body[:200]!r}")
    return found


def _alone(directory: Path, seconds: float) -> dict[str, float]:
    """What two processes reach that call the model with 64 rows in a loop, and one of them with single rows."""
    command = [sys.executable, str(HERE / "alone.py"), str(directory / "model"), str(directory / "requests.json")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    both = [subprocess.Popen([*command, str(seconds)], env=environ, **pipes) for _ in range(2)]
    for process in both:
        process.stdout.readline()
    results = []
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        lines = process.communicate(timeout=PATIENCE_S)[0].splitlines()
        results.append(json.loads(lines[-1]))
    return {
        "alone_one_ms": min(result["one_ms"] for result in results),
        "alone_call_ms": min(result["call_ms"] for result in results),
        "alone_rows_per_s": sum(result["rows_per_s"] for result in results),
    }


def _headrace(model: Path, work: Path) -> Any:
    def command(port: int) -> list[str]:
        entry = {"uri": str(model), "port": port, "environment": "local", "replicas": 2}
        config = {"admin": None, "models": {"m": entry}, "home": str(work / "home"), "log": {"level": "warning"}}
        (work / "headrace.yaml").write_text(yaml.safe_dump(config))
        return [str(Path(sys.executable).with_name("headrace")), "serve", "--config", str(work / "headrace.yaml")]

    return command


def _mlflow(model: Path) -> Any:
    def command(port: int) -> list[str]:
        mlflow = str(Path(sys.executable).with_name("mlflow"))
        where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
        return [mlflow, "models", "serve", "-m", str(model), "--env-manager", "local", *where]

    return command


def _serve(
    command: Any, requests: list[Any], work: Path, options: argparse.Namespace
) -> tuple[list[wire.Answer], dict[str, float]]:
    """(first answers, what was measured) of one server: at 64 connections requests/s and CPU, at one the median."""
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environ = {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = work / "log"
    running = Running(command(port), log=log, environ=environ, directory=work)
    try:
        _until_up(running, port, requests[0], log)
        answers = [ask(port, "/invocations", request) for request in requests[:5]]
        bodies = [("/invocations", json.dumps(request)) for request in requests]
        load.run(port, bodies, connections=64, seconds=2)
        before_s = running.cpu_s()
        many = load.run(port, bodies, connections=64, seconds=options.seconds)
        cpu_us = (running.cpu_s() - before_s) / max(1, many.requests) * 1e6
        one = load.run(port, bodies, connections=1, seconds=max(1, options.seconds // 2))
    finally:
        running.stop()
    if many.bad or many.broken or not many.requests:
        raise RuntimeError(f"{many.bad} answers were no success, {many.broken} did not come: {log.read_text()[-300:]}")
    measured = {"per_s": many.per_s, "cpu_us": cpu_us, "one_ms": one.p50_ms}
    return [wire.Answer(status, b"", body, 1) for status, body in answers], measured


def _until_up(running: Running, port: int, request: Any, log: Path) -> None:
    while time.monotonic() - running.started_s < PATIENCE_S and running.process.poll() is None:
        try:
            if ask(port, "/invocations", request)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    raise RuntimeError(f"it does not serve: {log.read_text(errors='replace')[-300:]}")


def _table(
    names: list[str],
    found: dict[tuple[str, str], list[float]],
    missing: dict[str, str],
    rounds: int,
    seconds: int,
) -> str:
    def median(name: str, what: str) -> float:
        return statistics.median(found[name, what])

    lines = [
        (
            f"Medians of {rounds} round(s) of {seconds} s; load over the last 15 minutes at the end: "
            f"{os.getloadavg()[2]:.1f}. {os.cpu_count()} cores, the load generator on them."
        ),
        "",
        (
            "| kind | headrace, requests/s | mlflow -w 2 | ratio | CPU a request | mlflow | ratio"
            " | of 2 loops of 64 rows | p50, 1 connection | `predict` alone |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        if (name, "headrace_per_s") not in found:
            continue
        ours, theirs = median(name, "headrace_per_s"), median(name, "mlflow_per_s")
        own_us, their_us = median(name, "headrace_cpu_us"), median(name, "mlflow_cpu_us")
        lines.append(
            f"| {TITLES[name]} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f} x"
            f" | {own_us:,.0f} µs | {their_us:,.0f} µs | {their_us / own_us:.1f} x"
            f" | {ours / median(name, 'alone_rows_per_s'):.0%} of {median(name, 'alone_rows_per_s'):,.0f}/s"
            f" ({median(name, 'alone_call_ms'):.2f} ms a call)"
            f" | {median(name, 'headrace_one_ms'):.2f} ms | {median(name, 'alone_one_ms'):.2f} ms |"
        )
    lines += ["", *(f"- {name}: {why}" for name, why in missing.items())]
    return "\n".join(lines).rstrip() + "\n"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/kinds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each load run")
    parser.add_argument("--only", type=lambda text: text.split(","), default=(), help=", ".join(TITLES))
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / ".bench" / "kinds", help="where the models are")
    parser.add_argument("--out", type=Path, default=None, help="where the table goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
