"""Models made in other environments, served in the ones that they record: real builds, real Pythons, real MLflows."""

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.environment_rig import TOOLS, Trained, train
from tests.integration.serving import Serving, ask, serving, until

pytestmark = pytest.mark.timeout(600)

Make = Callable[[str], Trained]

BUILD = ["pip==24.0", "setuptools==70.0.0", "wheel==0.43.0"]  # an MLflow of that time imports pkg_resources
MADE_WITH = {
    "3.9": ["mlflow==2.9.2", "scikit-learn==1.3.2", "numpy==1.26.4", "pandas==2.1.4"],
    "3.10": ["mlflow-skinny==2.9.2", "scikit-learn==1.5.2", "numpy==1.26.4", "pandas==2.2.2"],  # brings no Flask
    "3.11": [f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "numpy", "pandas")],
    "3.12": ["mlflow==2.14.3", "scikit-learn==1.5.0", "scipy==1.13.0", "numpy==1.26.4", "pandas==2.2.2"],
    "3.13": ["mlflow-skinny==3.17.2", "scikit-learn==1.7.2", "numpy==2.3.4", "pandas==2.3.3", "skops", "pyarrow"],
}
BUILDS_S = 300.0  # of patience: every core may be busy with something else
SLOW = ("3.9", "3.10", "3.13")  # an environment each; the others share that of 3.12


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for all tests: what one has built, the next finds."""
    folder = tmp_path_factory.mktemp("environments")
    yield folder
    shutil.rmtree(folder / "envs", ignore_errors=True)


@pytest.fixture(scope="session")
def made(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Gives the model that was made on a Python version; makes it when it is asked for the first time."""
    models: dict[str, Trained] = {}

    def make(python: str) -> Trained:
        if python not in models:
            models[python] = train(home, tmp_path_factory.mktemp("made"), python, MADE_WITH[python], BUILD)
        return models[python]

    return make


def config(models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"admin": {"port": 0}, "models": {name: {"port": 0, **model} for name, model in models.items()}}


def answers_as_trained(one: Serving, name: str, trained: Trained) -> dict[str, Any]:
    """Ask a served model what it was asked where it was trained; returns its environment as the admin port tells it."""
    until(lambda: [e for e in one.events if (e["event"], e.get("model")) == ("up", name)], "the builds", BUILDS_S)
    answer = ask(f"{one.url(name)}/invocations", {"inputs": trained.rows})
    assert (answer.status, answer.json) == (200, {"predictions": trained.predictions})
    environment: dict[str, Any] = one.status(name)["current"]["environment"]
    return environment


def found_in(environment: dict[str, Any]) -> dict[str, str]:
    return {finding["package"]: finding["found"] for finding in environment["report"]}


@pytest.mark.slow  # two large environments; the next test has one beside the running one
def test_two_models_side_by_side_each_as_it_was_trained(made: Make, tmp_path: Path) -> None:
    models = {"old": made("3.12"), "new": made("3.11")}
    document = config({name: {"uri": str(one.path), "environment": "exact"} for name, one in models.items()})
    environ = {**TOOLS, "PYTHONPATH": str(tmp_path)}
    with serving(tmp_path, document, environ=environ) as one:
        for name, python in (("old", "3.12."), ("new", "3.11.")):
            environment = answers_as_trained(one, name, models[name])
            assert environment["built"] is True
            assert environment["mismatches"] == 0
            assert {finding["verdict"] for finding in environment["report"]} == {"ok"}
            assert found_in(environment)["python"].startswith(python)
            assert environment["python"] != sys.executable
            for process in one.processes("role="):
                assert "PYTHONPATH" not in process.environ()
        trained_with = {"numpy": "1.26.4", "scikit-learn": "1.5.0", "scipy": "1.13.0"}
        assert trained_with.items() <= found_in(one.status("old")["current"]["environment"]).items()
        assert one.stop() == 0
    # Neither a resolver nor an index nor a cache is needed again.
    environ |= {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "none")}
    with serving(tmp_path, document, environ=environ) as again:
        for name, trained in models.items():
            environment = answers_as_trained(again, name, trained)
            assert (environment["built"], environment["mismatches"]) == (False, 0)
        assert [e for e in again.events if e["event"].startswith("build")] == []
    assert not (tmp_path / "none").exists()
    shutil.rmtree(tmp_path / "home" / "envs")


def test_the_default_builds_where_the_running_environment_differs_and_local_only_says_so(
    home: Path, made: Make, tmp_path: Path
) -> None:
    trained = made("3.12")
    uri = str(trained.path)
    document = config({"right": {"uri": uri}, "wrong": {"uri": uri, "environment": "local"}})
    with serving(tmp_path, document, environ={**TOOLS, "HEADRACE_HOME": str(home)}) as one:
        environment = answers_as_trained(one, "right", trained)
        assert (environment["policy"], environment["mismatches"]) == ("compatible", 0)
        # MLflow recorded what the training environment was built from: it is the same one, and not built again.
        assert (environment["built"], environment["python"]) == (False, trained.python)
        told = one.event("environment differs", model="wrong")
        by_name = {finding["package"]: finding for finding in told["mismatches"]}
        assert by_name["numpy"] == {
            "package": "numpy", "required": "==1.26.4", "found": version("numpy"), "verdict": "differs"
        }  # fmt: skip
        assert by_name["python"]["verdict"] == "differs"
        one.url("wrong")
        status = one.status("wrong")
        environment = (status["current"] or status["candidate"])["environment"]
        assert environment["mismatches"] == len(by_name) >= 4
        assert environment["python"] == sys.executable
        assert len([e for e in one.events if e["event"] == "environment differs"]) == 1


@pytest.mark.parametrize(
    "python",
    [pytest.param(p, marks=[pytest.mark.slow] if p in SLOW else []) for p in MADE_WITH if p != "3.11"],
)
def test_the_worker_runs_where_models_were_made(home: Path, made: Make, tmp_path: Path, python: str) -> None:
    trained = made(python)
    arguments = ["-m", str(trained.path), "-p", "0", "--env-manager", "uv", "--admin-port", "0"]
    # It is built: neither a resolver nor an index nor a cache is needed again.
    environ = {**TOOLS, "HEADRACE_HOME": str(home), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "none")}
    with serving(tmp_path, None, *arguments, environ={**environ, "PYTHONPATH": str(tmp_path)}) as one:
        environment = answers_as_trained(one, "model", trained)
        assert (environment["policy"], environment["built"], environment["mismatches"]) == ("exact", False, 0)
        assert {finding["verdict"] for finding in environment["report"]} == {"ok"}
        assert found_in(environment)["python"].startswith(f"{python}.")
        assert not [e for e in one.events if e["event"].startswith("build")]
        assert not [process for process in one.processes("role=") if "PYTHONPATH" in process.environ()]
        assert one.status("model")["current"]["facts"]["mlflow_version"] in MADE_WITH[python][0]
