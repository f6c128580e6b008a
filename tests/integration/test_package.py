"""`headrace package`: what it writes is enough, without a registry and without a package index."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from headrace.config.load import load_file
from tests.environment_rig import offline, record, wheel
from tests.integration.serving import HEADRACE, ask, serving

Run = Callable[..., str]


def shell(tmp_path: Path, environ: dict[str, str]) -> Run:
    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [HEADRACE, *arguments],
            env={**environ, "MLFLOW_TRACKING_URI": "sqlite:///no.db"}, cwd=tmp_path,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        with (tmp_path / "log").open("a", encoding="utf-8") as log:
            log.write(done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package of two models that ask for the same three wheels of no substance."""
    wheels = tmp_path / "index"
    for name in ("mlflow", "numpy", "pandas"):
        wheel(wheels, name, "1.0")
    wanted = ["mlflow==1.0", "numpy", "pandas"]
    topic, mood = (str(record(tmp_path / n, platform.python_version(), wanted)) for n in ("topic", "mood"))
    run = shell(tmp_path, offline(wheels, HEADRACE_HOME=str(tmp_path / "home")))
    assert "mood: " in run("package", "-m", topic, "-m", mood, "-o", "package")
    assert "is not empty" in run("package", "-m", topic, "-o", "package", code=2)
    wheel(wheels, "numpy", "1.1")  # what comes later into the index changes nothing
    return tmp_path / "package"


def nowhere(tmp_path: Path, home: str) -> dict[str, str]:
    return offline(tmp_path / "empty" / "no-such-index", HEADRACE_HOME=str(tmp_path / home))


def test_a_package_holds_everything(package: Path, tmp_path: Path) -> None:
    told = json.loads((package / "package.json").read_text())["models"]
    manifest = told["topic"]
    assert told["mood"]["environment"] == manifest["environment"]
    assert (tmp_path / "log").read_text().count("gathering wheels") == 1  # one environment is gathered once
    lock = (package / "wheels" / f"{manifest['environment']}.txt").read_text()
    assert [line.split(" --hash=sha256:")[0] for line in lock.splitlines()] == [
        "mlflow==1.0",
        "numpy==1.0",
        "pandas==1.0",
    ]
    config = load_file(package / "headrace.yaml")
    assert config.models["topic"].uri == str(package / "models" / "topic" / "topic")
    assert (package / "models" / "topic" / "topic" / "MLmodel").is_file()
    # Built from the wheels alone, wherever the command runs.
    run = shell(tmp_path, nowhere(tmp_path, "other"))
    said = run("env", "build", "-c", str(package / "headrace.yaml"))
    assert said.strip().endswith(manifest["environment"])
    # What was built beforehand is found: nothing is built, and nothing written there.
    (tmp_path / "other" / "envs").rename(package / "prebuilt")
    run = shell(tmp_path, nowhere(tmp_path, "third"))
    assert "is built" in run("env", "check", "-c", str(package / "headrace.yaml"))
    before = sorted(package.rglob("*"))
    run("env", "build", "-c", str(package / "headrace.yaml"))
    run("env", "prune", "--all", "-c", str(package / "headrace.yaml"))
    assert sorted(package.rglob("*")) == before
    assert not list((tmp_path / "third" / "envs").glob("*/bin"))


@pytest.mark.slow
def test_a_wheel_that_was_exchanged_is_refused(package: Path, tmp_path: Path) -> None:
    wheel(package / "wheels", "numpy", "1.0", content="evil = True")
    said = shell(tmp_path, nowhere(tmp_path, "other"))("env", "build", "-c", str(package / "headrace.yaml"), code=1)
    assert "Hash mismatch" in said


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"models": {"*": {"uri": "models:/*@production"}}, "gateway": {"port": 0}}, "name the models"),
        (
            {"models": {"a": {"uri": "models:/m@production", "port": 0, "shadow": "next"}}},
            "models.a.shadow needs a registry",
        ),
    ],
)
def test_what_needs_a_registry_is_refused(tmp_path: Path, more: dict[str, object], problem: str) -> None:
    (tmp_path / "headrace.yaml").write_text(yaml.safe_dump(more))
    said = shell(tmp_path, dict(os.environ))("package", "-c", "headrace.yaml", "-o", "package", code=2)
    assert problem in said
    assert not (tmp_path / "package").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_package_of_a_real_model_serves_without_registry_and_index(registry: str, tmp_path: Path) -> None:
    environ = {**os.environ, "HEADRACE_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": registry}
    command = [HEADRACE, "package", "-m", "models:/mood@production", "-o", str(tmp_path / "package")]
    subprocess.run(command, env=environ, check=True, timeout=500)
    document = yaml.safe_load((tmp_path / "package" / "headrace.yaml").read_text())
    document["models"]["mood"]["port"] = 0
    document["admin"] = {"port": 0}
    file = tmp_path / "package" / "headrace.yaml"
    file.write_text(yaml.safe_dump(document))
    away = {**nowhere(tmp_path, "other"), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with serving(tmp_path / "serve", None, "--config", str(file), environ=away) as one:
        answer = ask(f"{one.url('mood')}/invocations", {"instances": ["good great happy"]})
        assert (answer.status, answer.json) == (200, {"predictions": ["pos"]})
        assert answer.headers["headrace-model"] == "mood/1"
