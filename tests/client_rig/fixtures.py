"""One registry and one real server for all tests of the client; imported by tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving import Serving, serving
from tests.registries import registry

MODELS = ("echo", "table", "text", "typed", "classification", "sentiment")


@pytest.fixture(scope="session")
def client_registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tracking URI of a registry with `MODELS`, each with an alias production."""
    return registry(tmp_path_factory, Path(__file__).with_name("build_registry.py"))


@pytest.fixture(scope="session")
def client_server(client_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A real headrace that serves all of `MODELS`. It runs beside all other tests, so it looks rarely for aliases."""
    document = {
        "registry": {"tracking_uri": client_registry, "poll_s": 3600},
        "admin": {"port": 0},
        "models": {name: {"port": 0, "uri": f"models:/{name}@production", "environment": "local"} for name in MODELS},
    }
    with serving(tmp_path_factory.mktemp("client_server"), document) as one:
        for name in MODELS:
            one.url(name)
        yield one
