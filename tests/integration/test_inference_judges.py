"""Judges that are not ours: Triton's client, and a real MLServer that is sent the same generated requests."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import Answer, ask, serving, until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RIG = Path(__file__).parents[1] / "inference_rig"
MLSERVER = ["mlserver==1.7.1", "mlserver-mlflow==1.7.1"]
TRITON = ["tritonclient[http,grpc]==2.73.0"]
MODELS = ("table", "sum", "named")
REQUESTS = int(os.environ.get("HEADRACE_DIFFERENTIAL_EXAMPLES", "1000"))


def environment(directory: Path, packages: list[str]) -> Path:
    """The programs of a new environment with these packages."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], check=True)
    python = str(directory / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return directory / "bin"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="module")
def mlserver(directory: Path) -> Iterator[str]:
    """A real MLServer on the models of the rig; returns where."""
    programs = environment(directory / "mlserver", MLSERVER)
    tracking = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
    arguments = [str(programs / "python"), str(RIG / "models.py"), str(directory)]
    subprocess.run(arguments, check=True, capture_output=True, env=tracking)
    settings = directory / "settings"
    for name in MODELS:
        (settings / name).mkdir(parents=True)
        told = {"name": name, "implementation": "mlserver_mlflow.MLflowRuntime"}
        parameters = {"uri": str(directory / name), "version": "1"}
        (settings / name / "model-settings.json").write_text(json.dumps({**told, "parameters": parameters}))
    http, grpc, metrics = free_port(), free_port(), free_port()
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (settings / "settings.json").write_text(json.dumps({**ports, "parallel_workers": 0, "host": "127.0.0.1"}))
    with (directory / "mlserver.log").open("w") as log:
        process = subprocess.Popen([programs / "mlserver", "start", settings], stdout=log, stderr=log, env=tracking)
        try:
            url = f"http://127.0.0.1:{http}"
            until(lambda: all(ask(f"{url}/v2/models/{name}/ready").status == 200 for name in MODELS), "MLServer")
            yield url
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def headrace(directory: Path, mlserver: str) -> Iterator[str]:
    """headrace on the same models; returns where its shared port is."""
    assert mlserver
    port, grpc = free_port(), free_port()
    (directory / "grpc").write_text(f"127.0.0.1:{grpc}")
    models = {name: {"uri": str(directory / name), "environment": "local"} for name in MODELS}
    with serving(
        directory, {"gateway": {"port": port, "grpc_port": grpc}, "admin": {"port": 0}, "models": models}
    ) as one:
        for name in MODELS:
            one.event("up", model=name)
        yield f"http://127.0.0.1:{port}"


def test_tritons_client_is_content(directory: Path, headrace: str) -> None:
    programs = environment(directory / "triton", TRITON)
    done = subprocess.run(
        [programs / "python", RIG / "triton.py", headrace.removeprefix("http://")],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    address = (directory / "grpc").read_text()
    done = subprocess.run(
        [programs / "python", RIG / "triton_grpc.py", address],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def generated(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """(the model to ask, a request, most often a valid one)."""
    number = chance.randint(1, 4)
    document: dict[str, Any] = {"id": str(chance.randint(0, 99))}
    model = chance.choice(["table", "table", "sum", "named"])
    if model == "sum":
        data: list[Any] = [[chance.randint(-4, 4) / 2 for _ in range(3)] for _ in range(number)]
        data = data if chance.random() < 0.5 else [one for row in data for one in row]
        datatype = chance.choice(["FP32"] * 8 + ["FP64", "INT64"])
        return model, {**document, "inputs": [tensor("x", datatype, [number, 3], data)]}
    if model == "named":
        numbers = tensor("x", "FP32", [number, 2], [chance.uniform(-3, 3) for _ in range(2 * number)])
        whole = tensor("n", "INT64", [number], [chance.randint(-9, 9) for _ in range(number)])
        return model, {**document, "inputs": [numbers, whole]}
    kinds: dict[str, tuple[str, Callable[[], Any]]] = {
        "d": ("FP64", lambda: chance.choice([chance.uniform(-9, 9), chance.randint(-5, 5), 1e300])),
        "f": ("FP32", lambda: chance.uniform(-9, 9)),
        "l": ("INT64", lambda: chance.randint(-(2**63), 2**63 - 1)),
        "i": ("INT32", lambda: chance.randint(-(2**31), 2**31 - 1)),
        "b": ("BOOL", lambda: chance.random() < 0.5),
    }
    inputs = []
    for name in chance.sample(list(kinds), chance.randint(1, 5)):
        datatype, value = kinds[name]
        if chance.random() < 0.05:
            datatype = chance.choice(["FP64", "INT64", "BYTES", "FP32", "INT8"])
        shape = chance.choice([[number], [number, 1]])
        inputs.append(tensor(name, datatype, shape, [value() for _ in range(number)]))
    return model, {**document, "inputs": inputs}


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def told(answer: Answer) -> list[Any]:
    """What an answer says: not what the model's version is called, nor how clients are to decode the outputs."""
    document = answer.json
    outputs = [(one["name"], one["shape"], one["datatype"], one["data"]) for one in document["outputs"]]
    return [document["model_name"], document["id"], document.get("parameters"), outputs]


def test_what_mlserver_answers_is_answered_alike(headrace: str, mlserver: str) -> None:
    """What it refuses, or fails on, may be answered; docs/coming-from-mlserver.md has what it takes and we refuse."""
    chance = random.Random(0)
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(REQUESTS):
        model, document = generated(chance)
        ours, theirs = (ask(f"{base}/v2/models/{model}/infer", document) for base in (headrace, mlserver))
        counts[ours.status, theirs.status] += 1
        if theirs.status == 200 and ours.status == 200:
            assert told(ours) == told(theirs), document
        if theirs.status == 200 and ours.status == 400:  # it cuts off or drops values that are none of the datatype
            assert ours.json["error"].startswith("inputs["), document
    assert counts[200, 200] > REQUESTS / 2, counts
    assert {status for status, _ in counts} <= {200, 400}, counts
