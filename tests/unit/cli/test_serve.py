"""`headrace serve` takes the options of `mlflow models serve`, and its environment variables."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest

from headrace.cli import serve
from headrace.cli.overriding import overridden
from headrace.config.load import load_file
from headrace.config.tree import Config
from headrace.core.errors import ConfigErrors, UsageError


def parsed(*arguments: str) -> dict[str, Any]:
    return serve.command.make_context("serve", list(arguments), resilient_parsing=False).params


MLFLOW = ("-m", "models:/n/3", "-p", "5001", "-h", "0.0.0.0", "-t", "30", "-w", "2")
LONG = ("--model-uri", "models:/n/3", "--port", "5001", "--host", "0.0.0.0", "--timeout", "30", "--workers", "2")


@pytest.mark.parametrize("arguments", [MLFLOW, LONG])
def test_the_options_are_those_of_mlflow(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PORT", "1")  # what the command line says stands above the environment
    options = parsed(*arguments, "--env-manager", "virtualenv", "--install-mlflow")
    wanted = {"model_uri": "models:/n/3", "port": 5001, "host": "0.0.0.0", "timeout": 30.0, "workers": 2}
    assert {name: options[name] for name in wanted} == wanted
    assert (options["env_manager"], options["no_conda"]) == ("virtualenv", False)
    assert parsed("-m", "x", "--no-conda")["no_conda"] is True


def test_the_environment_variables_are_those_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = parsed("-m", "x")
    assert [defaults[n] for n in ("port", "host", "timeout", "workers")] == [5000, "127.0.0.1", 60.0, 1]
    monkeypatch.setenv("MLFLOW_PORT", "5001")
    monkeypatch.setenv("MLFLOW_HOST", "0.0.0.0")
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("MLFLOW_MODELS_WORKERS", "3")
    told = parsed("-m", "x")
    assert [told[n] for n in ("port", "host", "timeout", "workers")] == [5001, "0.0.0.0", 7.0, 3]


@pytest.mark.parametrize("manager", ["local", "virtualenv", "uv", "conda"])
def test_every_environment_manager_of_mlflow_is_known(manager: str) -> None:
    assert parsed("-m", "x", "--env-manager", manager)["env_manager"] == manager


@pytest.mark.parametrize("odd", [("-p", "x"), ("-w", "0"), ("-t", "0"), ("--env-manager", "poetry"), ("-p", "70000")])
def test_what_cannot_be_meant_is_refused(odd: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError):
        parsed("-m", "x", *odd)


def test_one_model_is_configured_as_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_MODEL_CONFIG", '{"bias": 5}')
    config = serve.configured("models:/n@champion", 5001, "0.0.0.0", 7.0, 3, 0)
    (model,) = config.models.values()
    assert (model.port, model.replicas, model.timeout_s, model.config) == (5001, 3, 7.0, {"bias": 5})
    assert (config.gateway.host, config.admin and config.admin.port) == ("0.0.0.0", 0)
    assert list(config.models) == ["n"]
    named = serve.configured("/mnt/models", 8080, "0.0.0.0", 7.0, 1, 0, "iris")
    assert {name: model.uri for name, model in named.models.items()} == {"iris": "/mnt/models"}


ONE = "models: {n: {uri: models:/n/3, port: 5001, host: 127.0.0.2}}\n"
TWO = 'gateway: {port: 5000}\nmodels: {n: {uri: models:/n/3}, "*": {uri: "models:/*@production"}}\n'


def from_file(folder: Path, text: str, **given: Any) -> Config:
    file = folder / "headrace.yaml"
    file.write_text(text, encoding="utf-8")
    return overridden(load_file(file, {}), file, **given)


def test_what_stands_beside_a_file_stands_above_it(tmp_path: Path) -> None:
    config = from_file(tmp_path, ONE, port=5914, host="0.0.0.0", timeout_s=5.0, workers=3, admin_port=5101)
    (model,) = config.models.values()
    assert (model.port, model.host, model.timeout_s, model.replicas) == (5914, None, 5.0, 3)
    assert (config.gateway.host, config.admin and config.admin.port) == ("0.0.0.0", 5101)
    config = from_file(tmp_path, TWO, timeout_s=5.0, workers=3)
    assert config.wildcard is not None
    assert [(m.timeout_s, m.replicas) for m in (config.models["n"], config.wildcard)] == [(5.0, 3), (5.0, 3)]
    assert from_file(tmp_path, ONE) == load_file(tmp_path / "headrace.yaml", {})


def test_a_port_beside_several_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give each a 'port'"):
        from_file(tmp_path, TWO, port=5914)
    with pytest.raises(ConfigErrors, match=r"models\.n\.port: port 5101 is already used by admin\.port"):
        from_file(tmp_path, ONE, port=5101, admin_port=5101)


def test_the_command_refuses_what_it_would_ignore(tmp_path: Path) -> None:
    """And MLflow's variables, which may be meant for another server, it ignores beside a file."""
    file = tmp_path / "headrace.yaml"
    file.write_text(TWO.replace("5000", "80000"), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("headrace")), "serve", "--config", str(file)]
    run = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=60)
    environ = {"MLFLOW_PORT": "5914", "MLFLOW_MODELS_WORKERS": "3"}
    assert f"{file}:1: gateway.port: expected a whole number" in run(command, env=environ).stderr
    file.write_text(TWO, encoding="utf-8")
    done = run([*command, "-p", "5914"], env=environ)
    assert done.returncode == 2
    assert done.stderr.startswith("headrace: --port cannot stand beside --config with several models")
    assert "--name cannot stand beside --config" in run([*command, "--name", "n"], env=environ).stderr


@pytest.mark.parametrize("text", ["{", "[1]", "5"])
def test_a_model_config_that_is_no_json_object_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SERVING_MODEL_CONFIG", text)
    with pytest.raises(UsageError, match="SERVING_MODEL_CONFIG"):
        serve.configured("models:/n/1", 5001, "127.0.0.1", 7.0, 1, None)
