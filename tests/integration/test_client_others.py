"""The client against MLflow's own server, and MLflow's own clients against headrace."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
import pytest
import requests

from headrace.client import BadRequest, ModelError, connect
from tests.integration.serving import Serving, ask, until
from tests.ports import free_port
from tests.processes import family

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]  # the server of all starts in one of them

FRAME = pd.DataFrame({"x": [1.5, math.nan], "n": [1, -3], "s": ["a", "ü"]})


@pytest.fixture(scope="module")
def mlflow_server(client_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow models serve` of the model table."""
    port = free_port()
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow, "models", "serve", "-m", "models:/table/1", "-p", str(port), "--env-manager", "local"]
    # It starts uvicorn by name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "MLFLOW_TRACKING_URI": client_registry, "PATH": path}
    log = tmp_path_factory.mktemp("mlflow_server") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environ, start_new_session=True)
    running: list[psutil.Process] = []
    try:
        until(lambda: ask(f"http://127.0.0.1:{port}/ping").status == 200, "MLflow's server", patience_s=90)
        running = family(process.pid)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        for one in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        psutil.wait_procs(running, timeout=60)


@pytest.mark.slow
def test_mlflows_own_server_is_served_as_well(mlflow_server: str, client_server: Serving) -> None:
    with connect(mlflow_server) as theirs, connect(client_server.url("table")) as ours:
        for data in (FRAME, FRAME.to_dict(orient="list"), FRAME.to_dict(orient="records")):
            assert json.dumps(theirs.predict(data)) == json.dumps(ours.predict(data))
        rows = [{"x": float(i), "n": i, "s": str(i)} for i in range(300)]
        assert theirs.predict(rows, max_rows=50) == rows
        with pytest.raises(BadRequest) as raised:
            theirs.predict({"x": [1.0]})
        assert (raised.value.status, raised.value.tries) == (400, 1)
        assert list(theirs.stream(FRAME.iloc[:1])) == [theirs.predict(FRAME.iloc[:1])], "it cannot stream: one piece"
        answer = theirs.ask(FRAME)
        assert (answer.model, answer.tries) == (None, 1)


def test_check_sees_that_mlflows_own_server_is_well(mlflow_server: str) -> None:
    headrace = str(Path(sys.executable).with_name("headrace"))
    data = json.dumps({"dataframe_split": {"columns": ["x", "n", "s"], "data": [[1.0, 1, "a"]]}})
    done = subprocess.run(
        [headrace, "check", mlflow_server, "--data", data], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout


def address(one: Serving, model: str) -> tuple[str, int]:
    parts = urlsplit(one.url(model))
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_mlflows_scoring_client_gets_its_answers(client_server: Serving) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    make: Any = ScoringServerClient
    client = make(*address(client_server, "table"))
    client.wait_server_ready()
    client.ping()
    assert client.get_version()
    answer = client.invoke(FRAME)
    assert [row["s"] for row in answer["predictions"]] == ["a", "ü"]
    assert list(answer.get_predictions()["n"]) == [1, -3]
    echo = make(*address(client_server, "echo"))
    assert echo.invoke(np.array([[1, 2], [3, 4]]))["predictions"] == [[1, 2], [3, 4]]
    assert echo.invoke(["a", "b"])["predictions"] == ["a", "b"]
    with pytest.raises(Exception, match="error code 400"):
        echo.invoke(["raise"])


def test_mlflows_deployments_client_gets_its_answers(client_server: Serving) -> None:
    """The target for addresses, `mlflow.deployments.mlflow`: MLflow 3 has no other that leads to a server of models."""
    from mlflow.deployments import get_deploy_client

    find: Any = get_deploy_client
    client = find(client_server.url("table"))
    body = {"dataframe_split": {"columns": ["x", "n", "s"], "data": [[1.5, 1, "a"]]}}
    assert client.predict(endpoint="table", inputs=body) == {"predictions": [{"x": 1.5, "n": 1, "s": "a"}]}
    with pytest.raises(requests.HTTPError, match="400"):
        client.predict(endpoint="table", inputs={"dataframe_split": {"columns": ["x"], "data": [[1]]}})
    with pytest.raises(requests.HTTPError, match="404"):
        client.predict(endpoint="other", inputs=body)


def test_what_mlflow_deployments_sends_is_answered(client_server: Serving) -> None:
    """As plug-ins for local targets do: the scoring server's JSON from `requests`, PredictionsResponse out of it."""
    from mlflow.deployments import PredictionsResponse
    from mlflow.utils.proto_json_utils import dump_input_data

    url = f"{client_server.url('table')}/invocations"
    sent = requests.post(url, data=dump_input_data(FRAME), headers={"Content-Type": "application/json"}, timeout=60)
    read: Any = PredictionsResponse.from_json
    frame = read(sent.text).get_predictions()
    assert list(frame["s"]) == ["a", "ü"]


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_plain_posts_are_answered(client_server: Serving, key: str) -> None:
    url = f"{client_server.url('echo')}/invocations"
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(url, json={key: ["a"]}, timeout=60)
            assert answer.json() == {"predictions": ["a"]}
        csv = session.post(url, data="a,b\n1,x\n", headers={"Content-Type": "text/csv"}, timeout=60)
        assert csv.json() == {"predictions": [{"a": 1, "b": "x"}]}


def test_mlflow_models_predict_style_input_files_are_answered(
    client_server: Serving, client_registry: str, tmp_path: Path
) -> None:
    """`mlflow.models.predict` runs a model on an input file; the same file posted gives the same."""
    body: dict[str, Any] = {"dataframe_split": FRAME.to_dict(orient="split")}
    file = tmp_path / "input.json"
    file.write_text(json.dumps(body), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import mlflow,sys; mlflow.models.predict('models:/table/1', input_path=sys.argv[1], env_manager='local')",
            str(file),
        ],
        capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "MLFLOW_TRACKING_URI": client_registry},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = next(json.loads(line) for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    host, port = address(client_server, "table")
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request("POST", "/invocations", json.dumps(body), {"Content-Type": "application/json"})
    ours = json.loads(connection.getresponse().read())
    connection.close()
    assert json.dumps(ours) == json.dumps(theirs)


def test_a_models_own_error_has_the_same_class_from_both(mlflow_server: str, client_server: Serving) -> None:
    for url in (mlflow_server, client_server.url("table")):
        with connect(url) as client, pytest.raises((BadRequest, ModelError)) as raised:
            client.predict({"x": ["much"], "n": [1], "s": ["a"]})
        assert type(raised.value) is BadRequest
