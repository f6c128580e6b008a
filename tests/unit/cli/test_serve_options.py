"""`headrace serve` takes the options of `mlflow models serve`, and its environment variables."""

import os
from typing import Any

import click
import pytest

from headrace.cli import serve
from headrace.core.errors import UsageError


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


@pytest.mark.parametrize("text", ["{", "[1]", "5"])
def test_a_model_config_that_is_no_json_object_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SERVING_MODEL_CONFIG", text)
    with pytest.raises(UsageError, match="SERVING_MODEL_CONFIG"):
        serve.configured("models:/n/1", 5001, "127.0.0.1", 7.0, 1, None)
