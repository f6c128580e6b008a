"""Each server in its best honest configuration for two cores: batching on where it has it, access logs off."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

APPS = Path(__file__).parent / "apps"
MODEL_SERVERS_SCRIPT = str(Path(sys.executable).with_name("mlflow"))
HEADRACE = str(Path(sys.executable).with_name("headrace"))


@dataclass(frozen=True)
class Plan:
    """How to start a server. `path` and `translate` say where and how a payload of MLflow's protocol is sent to it."""

    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ("/invocations",)
    translate: Callable[[Any], Any] = lambda payload: payload
    read: Callable[[Any], Any] = lambda answer: answer["predictions"]


@dataclass(frozen=True)
class Contender:
    """`serves` are the kinds of models (`cases.MODELS_BEHIND`) it can serve, `environment` the peer's own, if any."""

    name: str
    title: str
    serves: frozenset[str]
    plan: Callable[[Path, str, Path, int, Path], Plan]
    environment: str | None = None
    packages: tuple[str, ...] = ()


def _headrace(_: Path, kind: str, model: Path, port: int, work: Path) -> Plan:
    ten = kind == "topic-ten"
    # One line a model; all else is the default.
    entry: dict[str, Any] = {"uri": str(model), "environment": "local", "replicas": 1 if ten else 2}
    if kind == "topic-cached":
        entry["cache"] = {"max_bytes": 64 * 1024 * 1024}
    names = [f"m{i}" for i in range(10)] if ten else ["m"]
    config = {
        "admin": {"port": 0},
        "gateway": {"port": port, "max_connections": 12_000},
        "models": {name: dict(entry) for name in names},
        "home": str(work / "home"),
        "log": {"level": "warning"},
    }
    file = work / f"headrace-{kind}.yaml"
    file.write_text(yaml.safe_dump(config))
    return Plan([HEADRACE, "serve", "--config", str(file)], paths=tuple(f"/models/{n}/invocations" for n in names))


def _mlflow(workers: int) -> Callable[[Path, str, Path, int, Path], Plan]:
    def plan(_: Path, kind: str, model: Path, port: int, work: Path) -> Plan:  # noqa: ARG001
        command = [MODEL_SERVERS_SCRIPT, "models", "serve", "-m", str(model), "--env-manager", "local"]
        # It looks for uvicorn on the PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return Plan(command, environ={"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"})

    return plan


def _mlserver(python: Path, kind: str, model: Path, port: int, work: Path) -> Plan:
    names = [f"m{i}" for i in range(10)] if kind == "topic-ten" else ["m"]
    home = work / f"mlserver-{kind}"
    for name in names:
        (home / name).mkdir(parents=True, exist_ok=True)
        settings = {"name": name, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(model)},
                    "max_batch_size": 256, "max_batch_time": 0.002}  # fmt: skip
        (home / name / "model-settings.json").write_text(json.dumps(settings))
    settings = {"http_port": port, "host": "127.0.0.1", "grpc_port": port + 1, "metrics_port": port + 2,
                "parallel_workers": 0, "debug": False, "access_log": False}  # fmt: skip
    (home / "settings.json").write_text(json.dumps(settings))

    def translate(payload: Any) -> Any:
        split = payload.get("dataframe_split")
        if split is None:
            texts = payload["inputs"]
            column = {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts}
            return {"parameters": {"content_type": "pd"}, "inputs": [{**column, "parameters": {"content_type": "str"}}]}
        columns = zip(split["columns"], zip(*split["data"], strict=True), strict=True)
        inputs = [{"name": n, "shape": [len(c), 1], "datatype": "FP64", "data": list(c)} for n, c in columns]
        return {"parameters": {"content_type": "pd"}, "inputs": inputs}

    return Plan(
        [str(python.with_name("mlserver")), "start", str(home)],
        paths=tuple(f"/v2/models/{name}/infer" for name in names),
        translate=translate,
        read=lambda answer: answer["outputs"][0]["data"],
    )


def _bentoml(python: Path, kind: str, model: Path, port: int, work: Path) -> Plan:
    command = [str(python.with_name("bentoml")), "serve", "bento_service:Served", "--working-dir", str(APPS)]

    def translate(payload: Any) -> Any:
        split = payload.get("dataframe_split")
        return {"inputs": payload["inputs"] if split is None else split["data"]}

    return Plan(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        environ={"MODEL": str(model), "KIND": kind, "BENTOML_HOME": str(work / "bentoml"), "BENTOML_DO_NOT_TRACK": "1"},
        paths=("/predict",),
        translate=translate,
        read=lambda answer: answer,
    )


def _script(name: str, path: str) -> Callable[[Path, str, Path, int, Path], Plan]:
    def plan(python: Path, kind: str, model: Path, port: int, work: Path) -> Plan:  # noqa: ARG001
        environ = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "/tmp"}  # noqa: S108 - a socket's path must be short
        return Plan([str(python), str(APPS / name), str(model), kind, str(port)], environ=environ, paths=(path,))

    return plan


_ONE = frozenset({"topic", "iris", "slow"})
CONTENDERS = (
    Contender("headrace", "headrace, 2 replicas", _ONE | {"topic-cached", "topic-ten"}, _headrace),
    Contender("mlflow-1", "mlflow models serve, 1 worker", _ONE, _mlflow(1), packages=("mlflow",)),
    Contender("mlflow-2", "mlflow models serve, 2 workers", _ONE, _mlflow(2), packages=("mlflow",)),
    Contender("mlserver", "MLServer, V2, adaptive batching", _ONE | {"topic-ten"}, _mlserver, "mlserver",
              ("mlserver", "mlserver-mlflow")),
    Contender("bentoml", "BentoML, batching, 2 workers", _ONE, _bentoml, "bentoml", ("bentoml",)),
    Contender("litserve", "LitServe, batching, 2 workers", _ONE, _script("lit_server.py", "/predict"), "litserve",
              ("litserve",)),
    Contender("ray", "Ray Serve, @serve.batch, 2 replicas", _ONE, _script("ray_app.py", "/invocations"), "ray",
              ("ray",)),
)  # fmt: skip
WHY_NOT = {
    "topic-cached": "keeps no answers of its own on this path",
    "topic-ten": "one model a process",
}
