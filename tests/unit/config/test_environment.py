from pathlib import Path

import pytest

from headrace.config import environment
from headrace.config.registry import Registry


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (None, None)),
        ({"HEADRACE_CONFIG": "a.yaml"}, (None, Path("a.yaml"))),
        ({"HEADRACE_MODEL_URI": "models:/a@b"}, ("models:/a@b", None)),
        # An image names its file always; who names a model means that one.
        ({"HEADRACE_MODEL_URI": "models:/a@b", "HEADRACE_CONFIG": "a.yaml"}, ("models:/a@b", None)),
        ({"HEADRACE_MODEL_URI": "", "HEADRACE_CONFIG": ""}, (None, None)),
        ({"MLSERVER_MODEL_URI": "/mnt/models", "HEADRACE_CONFIG": "a.yaml"}, ("/mnt/models", None)),
        ({"MLSERVER_MODEL_URI": "/mnt/models", "HEADRACE_MODEL_URI": "models:/a@b"}, ("models:/a@b", None)),
    ],
)
def test_what_to_serve(environ: dict[str, str], expected: tuple[str | None, Path | None]) -> None:
    assert environment.what_to_serve(environ) == expected


def test_the_admin_port_of_this_machine() -> None:
    assert environment.admin_url({}) == environment.ADMIN_URL
    assert environment.admin_url({"HEADRACE_ADMIN": "http://127.0.0.1:5200"}) == "http://127.0.0.1:5200"


@pytest.mark.parametrize(
    ("registry", "environ", "key"),
    [
        (Registry(), {}, ""),
        (Registry(), {"MLFLOW_TRACKING_URI": "http://t", "MLFLOW_REGISTRY_URI": "http://r"}, "http://r"),
        (Registry(tracking_uri="http://c"), {"MLFLOW_REGISTRY_URI": "http://r"}, "http://c"),
        (Registry(tracking_uri="http://c", registry_uri="http://d"), {}, "http://d"),
        (Registry(tracking_uri="http://c"), {"MLFLOW_WORKSPACE": "ours"}, "http://c in ours"),
        (Registry(tracking_uri="http://c", workspace="theirs"), {"MLFLOW_WORKSPACE": "ours"}, "http://c in theirs"),
    ],
)
def test_two_registries_and_two_workspaces_of_one_are_told_apart(
    registry: Registry, environ: dict[str, str], key: str
) -> None:
    assert environment.registry_key(registry, environ) == key
    assert environment.registry_key(registry, environment.in_workspace(environ, registry)) == key


def test_mlflow_is_told_the_configured_workspace() -> None:
    ours = {"MLFLOW_WORKSPACE": "ours"}
    assert environment.in_workspace(ours, Registry(workspace="theirs")) == {"MLFLOW_WORKSPACE": "theirs"}
    assert environment.in_workspace(ours, Registry()) == ours
