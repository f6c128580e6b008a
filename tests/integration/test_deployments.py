"""MLflow's deployments API and command line, by the plugin's entry point, against a real headrace and its file."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# MLflow, pandas and what they bring warn about one another while they are imported.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse, get_deploy_client  # noqa: E402
from mlflow.deployments.cli import commands  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from tests.integration.serving import Serving, ask, serving  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.registries import place  # noqa: E402

deploy_client: Callable[[str], Any] = get_deploy_client  # MLflow's has no types
TEXTS = ["good great happy", "bad awful sad"]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def server(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One model from a directory, and a comment that is to stay."""
    directory = tmp_path_factory.mktemp("deployments")
    file = directory / "headrace.yaml"
    file.write_text(
        f"admin: {{port: 0}}\n"
        f"registry: {{tracking_uri: '{registry}'}}\n"
        f"gateway: {{port: {free_port()}}}\n"
        f"models:\n"
        f"  first: {{uri: {json.dumps(place(registry, 'mood/1'))}}}  # it stays\n"
        f"  # the end\n",
        encoding="utf-8",
    )
    with serving(directory, None, "--config", str(file)) as one:
        one.url("first")
        yield one


@pytest.fixture
def file(server: Serving) -> Path:
    return Path(ask(f"{server.admin}/api/reload").json["file"])


@pytest.fixture
def client(server: Serving) -> Any:
    return deploy_client(f"headrace:{server.admin}")


@pytest.fixture
def run(server: Serving) -> Run:
    """`mlflow deployments` in this process: a process of its own takes seconds to import MLflow."""
    from click.testing import CliRunner

    def running(command: str, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(commands, [command, "-t", f"headrace:{server.admin}", *arguments])
        assert done.exit_code == code, done.output or done.exception
        return done.output

    return running


def test_mlflow_finds_the_plugin_and_it_has_what_its_contract_asks_for(client: Any) -> None:
    from headrace import deployments

    classes = [one for _, one in inspect.getmembers(deployments, inspect.isclass)]
    assert [one for one in classes if issubclass(one, BaseDeploymentClient)] == [type(client)]
    for name, method in inspect.getmembers(BaseDeploymentClient, inspect.isfunction):
        ours = inspect.signature(getattr(type(client), name))
        assert list(ours.parameters) == list(inspect.signature(method).parameters), name
    assert "headrace:http://HOST:PORT" in deployments.target_help()
    assert list(inspect.signature(deployments.run_local).parameters) == ["name", "model_uri", "flavor", "config"]


def test_a_life_by_the_command_line_of_mlflow(run: Run, registry: str, file: Path, tmp_path: Path) -> None:
    before = file.read_text(encoding="utf-8")
    made = run("create", "--name", "mood", "-m", place(registry, "mood/1"), "-C", "replicas=2", "-C", "timeout_s=7")
    assert "python_function deployment mood is created" in made
    assert "'name': 'mood'" in run("list")
    told = run("get", "--name", "mood")
    assert "ready: True" in told
    assert f"uri: {place(registry, 'mood/1')}" in told
    given = tmp_path / "in.json"
    given.write_text(json.dumps([{"text": text} for text in TEXTS]), encoding="utf-8")
    asked = json.loads(run("predict", "--name", "mood", "-I", str(given)))
    assert asked == {"predictions": ["neg"]}, "MLflow's command sends a DataFrame; this model takes its column's name"
    updated = run("update", "--name", "mood", "-m", place(registry, "mood/2"), "-C", "batch.max_rows=4")
    assert "Deployment mood is updated (with flavor python_function)" in updated
    assert f"uri: {place(registry, 'mood/2')}" in run("get", "--name", "mood")
    assert "max_rows: 4" in file.read_text(encoding="utf-8")
    run("delete", "--name", "mood")
    run("delete", "--name", "mood")
    assert "'mood'" not in run("list")
    assert file.read_text(encoding="utf-8") == before


def test_inputs_are_those_of_pyfunc_predict_and_bodies_of_the_protocol(client: Any) -> None:
    import numpy as np

    for inputs in (TEXTS, np.array(TEXTS), {"inputs": TEXTS}, {"instances": TEXTS}):
        answer = client.predict("first", inputs)
        assert list(answer.get_predictions("ndarray")) == ["pos", "neg"]
        assert isinstance(answer, PredictionsResponse)
    assert client.predict(endpoint="first", inputs=TEXTS) == {"predictions": ["pos", "neg"]}
    assert list(client.predict_stream("first", TEXTS)) == [{"predictions": ["pos", "neg"]}]


def test_a_model_that_does_not_come_up_leaves_everything_as_it_was(client: Any, registry: str, file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    broken = place(registry, "broken/1")
    with pytest.raises(MlflowException, match="bad does not come up"):
        client.create_deployment("bad", broken)
    assert [one["name"] for one in client.list_deployments()] == ["first"]
    with pytest.raises(MlflowException, match="first does not come up"):
        client.update_deployment("first", broken)
    assert file.read_text(encoding="utf-8") == before
    assert ask(f"{client._admin.address}/api/reload").json["changes"] == []
    assert client.predict("first", TEXTS) == {"predictions": ["pos", "neg"]}


def test_what_cannot_be_done_is_said_and_changes_nothing(client: Any, registry: str, file: Path) -> None:
    before, good = file.read_text(encoding="utf-8"), place(registry, "mood/1")
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: client.create_deployment("first", good), "served already"),
        (lambda: client.create_deployment("second", good, flavor="sklearn"), "python_function"),
        (lambda: client.create_deployment("second", good, endpoint="one"), "has none"),
        (lambda: client.create_deployment("second", good, config={"replicas": "many"}), "replicas"),
        (lambda: client.create_deployment("second", good, config={"nonsense": 1}), "nonsense"),
        (lambda: client.create_deployment("se cond", good), "a model's name"),
        (lambda: client.create_deployment("second", good, config={"wait_s": "soon"}), "wait_s"),
        (lambda: client.update_deployment("first"), "nothing to update"),
        (lambda: client.update_deployment("nobody", good), "no such model; there are: first"),
        (lambda: client.get_deployment("nobody"), "no such model"),
        (lambda: client.delete_deployment("first"), "at least one"),
        (lambda: client.predict("nobody", TEXTS), "no such model"),
        (lambda: client.predict(None, TEXTS), "name of a model"),
        (lambda: client.explain("first", None), "not yet supported"),
        (lambda: deploy_client("headrace:nonsense"), "headrace:http://HOST:PORT"),
        (lambda: deploy_client("headrace:http://127.0.0.1:9").list_deployments(), "nothing answers"),
    ]
    for attempt, says in refused:
        with pytest.raises(MlflowException, match=says):
            attempt()
        assert file.read_text(encoding="utf-8") == before
    file.write_text(before + "timeout: 5\n", encoding="utf-8")
    with pytest.raises(MlflowException, match="not in force"):
        client.create_deployment("second", good)
    file.write_text(before, encoding="utf-8")


@pytest.mark.slow
def test_the_commands_that_need_no_server() -> None:
    """As a user types them: this is where MLflow looks for entry points of what is installed."""
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    told = subprocess.run(
        [mlflow, "deployments", "help", "-t", "headrace"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (told.returncode, "A deployment is a model" in told.stdout) == (0, True), told.stderr
    version = subprocess.run(
        [sys.executable, "-m", "headrace", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert version.stdout.startswith("headrace")


def test_run_local_serves_in_the_foreground_and_says_when_it_cannot(tmp_path: Path) -> None:
    from headrace.deployments import run_local

    with pytest.raises(MlflowException, match="run-local takes port"):
        run_local("one", str(tmp_path), config={"nonsense": "1"})
    with pytest.raises(MlflowException, match="sklearn"):
        run_local("one", str(tmp_path), "sklearn")
    with pytest.raises(MlflowException, match="exit code 2"):
        run_local("one", "nonsense:/", config={"port": "0"})
