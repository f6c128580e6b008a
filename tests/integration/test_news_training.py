"""The two news models, trained on the real data by the real command, and asked as clients ask them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
TRAINING_LIMIT_S = 600
SERVER_LIMIT_S = 90
# MLflow, pandas and scikit-learn warn about one another; what they warn about is not under test.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(TRAINING_LIMIT_S)]

TOPIC_EXAMPLES = {
    "Technology news": "technology",
    "Breaking news about technology": "technology",
}
SENTIMENT_EXAMPLES = {
    "This is wonderful news!": "positive",
    "Great news!": "positive",
    "This is terrible news.": "negative",
    "I am not happy with this": "negative",
    "The staff weren't very friendly.": "negative",
    "not bad at all": "positive",
    "never disappoints": "positive",
}
EXAMPLES = {"classification": TOPIC_EXAMPLES, "sentiment": SENTIMENT_EXAMPLES}
MODELS = tuple(EXAMPLES)


def run_training(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "news.train", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples"), **environment},
        capture_output=True,
        text=True,
        timeout=TRAINING_LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="session")
def cache_dir(pytestconfig: pytest.Config) -> Path:
    """Where downloads are kept from one test run to the next; each is verified before it is read."""
    cache = pytestconfig.cache
    assert cache is not None
    return cache.mkdir("news")


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """Train both models, once for all tests."""
    state = tmp_path_factory.mktemp("news")
    done = run_training("--state-dir", state, "--cache-dir", cache_dir)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (state / "output.txt").write_text(done.stdout, encoding="utf-8")
    return state


@pytest.fixture(scope="session")
def registry(state_dir: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{state_dir / 'mlflow.db'}"
    return MlflowClient(uri, uri)


@pytest.fixture(scope="session")
def load(state_dir: Path) -> Iterator[Callable[[str], Any]]:
    """Load a model by its URI, as a server would: without this example's package."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{state_dir / 'mlflow.db'}")
    loaded: dict[str, Any] = {}

    def load_once(uri: str) -> Any:
        if uri not in loaded:
            loaded[uri] = mlflow.pyfunc.load_model(uri)
        return loaded[uri]

    yield load_once
    mlflow.set_tracking_uri(before)


def rows_in(state: Path, table: str) -> int:
    with closing(sqlite3.connect(state / "mlflow.db")) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names


def test_the_command_says_what_it_does_and_nothing_else(state_dir: Path) -> None:
    lines = (state_dir / "output.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "opening the registry"
    assert sum(line.startswith("topic: training on 14,504 documents") for line in lines) == 1
    assert sum(line.startswith("sentiment: training on 21,332 rated texts") for line in lines) == 1
    assert [line.split(":")[0] for line in lines if " version 1: accuracy " in line] == [
        "classification version 1",
        "sentiment version 1",
    ]
    assert len(lines) == 12
    assert lines[-1].startswith("done in ")


def test_the_topic_model_is_as_good_as_required(registry: Any) -> None:
    version = registry.get_model_version_by_alias("classification", "production")
    metrics = registry.get_run(version.run_id).data.metrics
    assert metrics["accuracy"] >= 0.96
    assert metrics["macro_f1"] >= 0.92
    assert metrics["development_headlines_four_topics_accuracy"] >= 0.85
    assert metrics["check_headlines_four_topics_accuracy"] >= 0.75


def test_the_sentiment_model_is_as_good_as_required(registry: Any) -> None:
    version = registry.get_model_version_by_alias("sentiment", "production")
    metrics = registry.get_run(version.run_id).data.metrics
    assert metrics["accuracy"] >= 0.69
    assert metrics["macro_f1"] >= 0.64
    assert metrics["everyday_accuracy"] >= 48 / 60


def test_the_reported_accuracy_is_that_of_the_registered_model(
    load: Callable[[str], Any], registry: Any, cache_dir: Path
) -> None:
    from news.pipelines import text_frame
    from news.topic_data import load_topic_data

    test = load_topic_data(cache_dir).test
    assert len(test) == 7566
    answers = load("models:/classification@production").predict(text_frame([text for _, text in test]))
    right = sum(str(answer) == label for answer, (label, _) in zip(answers, test, strict=True))
    version = registry.get_model_version_by_alias("classification", "production")
    assert right / len(test) == pytest.approx(registry.get_run(version.run_id).data.metrics["accuracy"])
    assert right / len(test) >= 0.96


@pytest.mark.parametrize("name", MODELS)
def test_a_version_is_registered_with_all_that_is_known_about_it(registry: Any, name: str) -> None:
    version = registry.get_model_version_by_alias(name, "production")
    assert version.version in {"1", 1}
    assert version.current_stage == "Production"
    assert float(version.tags["accuracy"]) > 0.6
    assert len(version.tags["news.fingerprint"]) == 64
    assert "Accuracy" in version.description
    assert registry.get_registered_model(name).description
    artifacts = {artifact.path for artifact in registry.list_artifacts(version.run_id)}
    assert {"model_card.md", "confusion_matrix.png"} <= artifacts
    experiment = registry.get_experiment(registry.get_run(version.run_id).info.experiment_id)
    assert experiment.name == "news"


@pytest.mark.parametrize("name", MODELS)
def test_the_card_has_the_picture_beside_it(registry: Any, name: str, tmp_path: Path) -> None:
    version = registry.get_model_version_by_alias(name, "production")
    card = Path(registry.download_artifacts(version.run_id, "model_card.md", str(tmp_path))).read_text(encoding="utf-8")
    picture = Path(registry.download_artifacts(version.run_id, "confusion_matrix.png", str(tmp_path)))
    assert "(confusion_matrix.png)" in card
    assert "macro-F1" in card
    assert "## Bad at" in card
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("uri", ["models:/{}@production", "models:/{}/Production"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_one_text_column_and_pins_what_it_needs(load: Callable[[str], Any], name: str, uri: str) -> None:
    import mlflow

    model = load(uri.format(name))
    assert model.metadata.signature.inputs.to_dict() == [{"type": "string", "name": "text", "required": True}]
    assert list(model.input_example.columns) == ["text"]
    assert len(model.predict(model.input_example)) == len(model.input_example)
    requirements = Path(mlflow.pyfunc.get_model_dependencies(uri.format(name))).read_text(encoding="utf-8").split()
    assert {requirement.split("==")[0] for requirement in requirements} >= {"mlflow-skinny", "scikit-learn", "skops"}
    assert all("==" in requirement for requirement in requirements)


@pytest.mark.parametrize("name", MODELS)
def test_the_examples_get_the_right_answers(load: Callable[[str], Any], name: str) -> None:
    import pandas as pd

    examples = EXAMPLES[name]
    answers = load(f"models:/{name}@production").predict(pd.DataFrame({"text": list(examples)}))
    assert list(answers) == list(examples.values())


def csv_of(texts: list[str]) -> str:
    return "text\n" + "".join('"' + text.replace('"', '""') + '"\n' for text in texts)


FORMS: dict[str, Callable[[list[str]], tuple[str, str]]] = {
    "instances": lambda texts: ("application/json", json.dumps({"instances": texts})),
    "instances of records": lambda texts: (
        "application/json",
        json.dumps({"instances": [{"text": text} for text in texts]}),
    ),
    "inputs": lambda texts: ("application/json", json.dumps({"inputs": texts})),
    "inputs by column": lambda texts: ("application/json", json.dumps({"inputs": {"text": texts}})),
    "dataframe_split": lambda texts: (
        "application/json",
        json.dumps({"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}),
    ),
    "dataframe_records": lambda texts: (
        "application/json",
        json.dumps({"dataframe_records": [{"text": text} for text in texts]}),
    ),
    "csv": lambda texts: ("text/csv", csv_of(texts)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_every_way_to_ask_gets_one_right_label_a_row(load: Callable[[str], Any], name: str, form: str) -> None:
    import pandas as pd
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    model = load(f"models:/{name}@production")
    client = TestClient(scoring_server.init(model))
    texts = [*EXAMPLES[name], 'Commas, "quotes" and\nlines', "Überraschung: 5 % mehr für Ärzte"]
    expected = [str(answer) for answer in model.predict(pd.DataFrame({"text": texts}))]
    for rows in (texts, texts[:1]):
        content_type, body = FORMS[form](rows)
        answer = client.post("/invocations", content=body.encode(), headers={"Content-Type": content_type})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": expected[: len(rows)]}
    for text, label in EXAMPLES[name].items():
        assert expected[texts.index(text)] == label


def test_a_second_run_does_nothing_and_imports_no_library(state_dir: Path, cache_dir: Path) -> None:
    before = rows_in(state_dir, "model_versions"), rows_in(state_dir, "runs")
    # A Python that cannot import MLflow shows that the answer comes from the database file itself.
    blocker = state_dir / "blocker"
    blocker.mkdir(exist_ok=True)
    (blocker / "mlflow.py").write_text("raise ImportError('not needed')\n", encoding="utf-8")
    done = run_training("--state-dir", state_dir, "--cache-dir", cache_dir, PYTHONPATH=f"{ROOT / 'examples'}:{blocker}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["classification: registered already", "sentiment: registered already"]
    assert (rows_in(state_dir, "model_versions"), rows_in(state_dir, "runs")) == before


def test_a_registry_that_cannot_be_reached_is_one_line(tmp_path: Path, cache_dir: Path) -> None:
    done = run_training(
        "--state-dir", tmp_path, "--cache-dir", cache_dir, "--tracking-uri", "http://someone:secret@127.0.0.1:9"
    )
    assert done.returncode == 1
    assert "secret" not in done.stdout + done.stderr
    assert done.stderr.startswith("news.train: the registry at http://***@127.0.0.1:9 failed")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow  # pip is tried three times; the unit tests of archives have what it says then
def test_no_network_is_one_line(tmp_path: Path) -> None:
    done = run_training(
        "--state-dir", tmp_path, "--only", "sentiment", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS=""
    )
    assert done.returncode == 1
    assert done.stderr.startswith("news.train: could not download vaderSentiment==3.3.2 with pip (3 attempts)")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Run a real MLflow server and give its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "served")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health", process, tmp_path / "server.log")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + SERVER_LIMIT_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=1.0):
                return
        except OSError:
            threading.Event().wait(0.1)
    pytest.fail(f"no answer from {url}: {log.read_text(encoding='utf-8')}")


@pytest.mark.slow  # two trainings; the others train into a file
def test_a_model_goes_to_a_server_once_and_again_when_forced(server: str, tmp_path: Path, cache_dir: Path) -> None:
    from mlflow import MlflowClient

    arguments = ("--state-dir", tmp_path / "state", "--cache-dir", cache_dir, "--only", "sentiment")
    first = run_training(*arguments, "--tracking-uri", server)
    assert (first.returncode, first.stderr) == (0, "")
    second = run_training(*arguments, "--tracking-uri", server)
    assert second.stdout.splitlines() == ["sentiment: registered already"]
    forced = run_training(*arguments, "--tracking-uri", server, "--force")
    assert (forced.returncode, forced.stderr) == (0, "")

    registry = MlflowClient(server, server)
    stages = {
        int(version.version): version.current_stage for version in registry.search_model_versions("name='sentiment'")
    }
    assert stages == {1: "Archived", 2: "Production"}
    version = registry.get_model_version_by_alias("sentiment", "production")
    assert int(version.version) == 2
    assert version.run_id is not None
    assert "model_card.md" in {artifact.path for artifact in registry.list_artifacts(version.run_id)}
    assert not (tmp_path / "state" / "mlflow.db").exists()
