"""A server that is restarted, or whose version is swapped, while clients ask it: no call fails."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Self

import pytest

from headrace.client import (
    ClientError,
    connect,
)
from tests.integration.serving import Serving, ask, serving, until
from tests.ports import free_port
from tests.registries import place

pytestmark = pytest.mark.timeout(300)  # the server of all starts in one of them


class Load:
    """A few threads that predict without pause and note what fails."""

    def __init__(self, address: str) -> None:
        self._client = connect(address, deadline_s=100)
        self._stop = threading.Event()
        self.answers: dict[str, int] = {}
        self.failures: list[ClientError] = []
        self.tries = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._client.ask(["good great happy"])
            except ClientError as error:
                self.failures.append(error)
                return
            with self._lock:
                told = f"{answer.model} {answer.value}"
                self.answers[told] = self.answers.get(told, 0) + 1
                self.tries += answer.tries

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Return when nobody asks any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 40) -> None:
        wanted = sum(self.answers.values()) + count
        until(lambda: self.failures or sum(self.answers.values()) >= wanted, f"{count} further answers")


@pytest.mark.slow
def test_a_server_restarted_in_the_middle_fails_no_call(registry: str, tmp_path: Path) -> None:
    port = free_port()
    document = {
        "admin": {"port": 0},
        "models": {"mood": {"uri": place(registry, "mood/1"), "port": port, "environment": "local"}},
    }
    with serving(tmp_path, document) as first:
        first.url("mood")
        with Load(f"http://127.0.0.1:{port}") as load:
            load.more()
            first.stop(signal.SIGTERM)
            with serving(tmp_path, document) as second:
                second.url("mood")
                load.more()
                load.stop()
        assert load.failures == []
        assert set(load.answers) == {"mood/artifacts ['pos']"}
        assert load.tries > sum(load.answers.values()), "some calls had to try again"


@pytest.mark.filterwarnings("ignore")  # MLflow's client in this process
def test_a_version_swapped_in_the_middle_fails_no_call(client_registry: str, client_server: Serving) -> None:
    from mlflow import MlflowClient

    admin = MlflowClient(client_registry)
    with Load(client_server.url("sentiment")) as load:
        load.more()
        admin.set_registered_model_alias("sentiment", "production", "2")
        assert ask(f"{client_server.admin}/api/models/sentiment/refresh", method="POST").status == 202
        until(lambda: load.failures or any("/2 " in told for told in load.answers), "the new version")
        load.more()
    assert load.failures == []
    assert set(load.answers) == {"sentiment/1 ['positive']", "sentiment/2 ['positive']"}
