"""Registries that several tests here share."""

from collections.abc import Iterator

import pytest

from tests.dashboard_rig.browser import browser, open_page  # noqa: F401 - fixtures of the dashboard's tests
from tests.integration.mlflow_server import MlflowServer, mlflow_server
from tests.integration.moving import Registry


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real `mlflow server` with its artifact proxy, on a sqlite file, and `pair` in it."""
    with mlflow_server(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture(scope="session")
def served(server: MlflowServer) -> Iterator[Registry]:
    """Moves aliases in `server`."""
    with Registry(server.uri) as made:
        yield made
