"""Real registries: `mlflow server` over HTTP with its artifact proxy; slow, broken, full; PostgreSQL behind it."""

from __future__ import annotations

import http.client
import resource
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.mlflow_server import MlflowServer, mlflow_server
from tests.integration.moving import Registry
from tests.integration.postgres import postgres, postgres_bin
from tests.integration.serving import ask, serving, until
from tests.integration.swarm import Swarm

TEXT = {"inputs": ["good great happy"]}
ARTIFACTS = "/mlflow-artifacts/"


# Registers a webhook for moved aliases, and has the server try it.
WEBHOOK = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
hook = client.create_webhook("headrace", sys.argv[2], ["model_version_alias.created"], secret="s3cret")
tried = client.test_webhook(hook.webhook_id)
assert tried.success, tried
client.update_webhook(hook.webhook_id, secret="another")
tried = client.test_webhook(hook.webhook_id)
assert tried.response_status == 401, tried
client.update_webhook(hook.webhook_id, secret="s3cret")
"""


class Between:
    """A proxy before a registry: counts what is asked, and can hold back or spoil the answers."""

    def __init__(self, target: int) -> None:
        self.asked: Counter[str] = Counter()
        self.open = threading.Event()
        self.open.set()
        self.spoil = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked[path] += 1
                outer.open.wait(60)
                upstream = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream.request(self.command, self.path, body, dict(self.headers.items()))
                answer = upstream.getresponse()
                data = answer.read()
                upstream.close()
                if outer.spoil and ARTIFACTS in path and "?" not in self.path:
                    # Half of the file, as a connection that breaks leaves it.
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def between(server: MlflowServer) -> Iterator[Between]:
    made = Between(server.port)
    yield made
    made.close()


def config(uri: str, alias: str, **registry: Any) -> dict[str, Any]:
    model = {"uri": f"models:/pair@{alias}", "port": 0, "environment": "local"}
    return {
        "registry": {"tracking_uri": uri, "poll_s": 0.5, "timeout_s": 2, **registry},
        "admin": {"port": 0},
        "models": {"pair": model},
    }


def label(url: str) -> str:
    return ask(url, TEXT).headers.get("headrace-model", "")


@pytest.mark.slow
def test_a_slow_registry_is_asked_lightly_and_nothing_on_the_data_path_notices(
    between: Between, served: Registry, tmp_path: Path
) -> None:
    served.point("pair", "slow", "1")
    with serving(tmp_path, config(between.uri, "slow", timeout_s=2)) as one:
        url = f"{one.url('pair')}/invocations"
        assert label(url) == "pair/1"
        between.asked.clear()
        until(lambda: sum(between.asked.values()) >= 4, "four polls")
        assert set(between.asked) == {"/api/2.0/mlflow/registered-models/get"}, "one light call a poll"
        with Swarm(url, TEXT, 8, pause_s=0.01) as swarm:
            between.open.clear()
            served.point("pair", "slow", "2")
            until(lambda: one.status("pair")["registry_problem"], "the time-out to be told")
            swarm.more(500)
            assert label(url) == "pair/1"
            between.open.set()
            until(lambda: label(url) == "pair/2", "version 2")
        assert not swarm.failed


def test_half_an_artifact_is_refused_and_fetched_again(between: Between, served: Registry, tmp_path: Path) -> None:
    served.point("pair", "half", "1")
    with serving(tmp_path, config(between.uri, "half")) as one:
        url = f"{one.url('pair')}/invocations"
        assert label(url) == "pair/1"
        between.spoil = True
        served.point("pair", "half", "2")
        failed = one.event("FAILED", version="pair/2")
        assert failed["kept"] == "pair/1"
        assert not failed["refused"], "it is tried again"
        assert label(url) == "pair/1"
        assert not list((tmp_path / "home/models").glob("incoming-*")), "nothing half-written stays"
        between.spoil = False
        ask(f"{one.admin}/api/models/pair/refresh", method="POST")
        until(lambda: label(url) == "pair/2", "version 2")


def test_a_full_disk_keeps_what_serves_and_is_tried_again(served: Registry, tmp_path: Path) -> None:
    served.point("pair", "full", "1")
    with serving(tmp_path, config(served.uri, "full", timeout_s=10)) as one:
        url = f"{one.url('pair')}/invocations"
        assert label(url) == "pair/1"
        (agent,) = one.processes("headrace.registry")
        # No file of the agent may become larger than this: its writes fail as on a full disk.
        before = psutil.Process(agent.pid).rlimit(resource.RLIMIT_FSIZE)
        psutil.Process(agent.pid).rlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        served.point("pair", "full", "2")
        failed = one.event("FAILED", version="pair/2")
        assert "there is no room on the disk" in failed["reason"], failed
        assert label(url) == "pair/1"
        assert not list((tmp_path / "home/models").glob("incoming-*"))
        psutil.Process(agent.pid).rlimit(resource.RLIMIT_FSIZE, before)
        ask(f"{one.admin}/api/models/pair/refresh", method="POST")
        until(lambda: label(url) == "pair/2", "version 2")


def test_mlflow_s_own_webhook_is_faster_than_any_poll(server: MlflowServer, served: Registry, tmp_path: Path) -> None:
    served.point("pair", "told", "1")
    document = config(server.uri, "told", timeout_s=10, poll_s=3600, webhook_secret="s3cret")
    with serving(tmp_path, document) as one:
        url = f"{one.url('pair')}/invocations"
        assert label(url) == "pair/1"
        subprocess.run([sys.executable, "-c", WEBHOOK, server.uri, f"{one.admin}/hooks/mlflow"], check=True, timeout=60)
        served.point("pair", "told", "2")
        until(lambda: label(url) == "pair/2", "version 2")


@pytest.mark.slow  # what headrace speaks to is the same server
@pytest.mark.needs("psql")
@pytest.mark.timeout(300)
def test_postgresql_behind_the_server(tmp_path: Path) -> None:
    binaries = postgres_bin()
    assert binaries is not None, "psql is here, its server is not"
    with (
        postgres(binaries) as backend,
        mlflow_server(tmp_path / "served", backend) as server,
        Registry(server.uri) as moves,
    ):
        moves.point("pair", "production", "1")
        with serving(tmp_path, config(server.uri, "production", timeout_s=10)) as one:
            url = f"{one.url('pair')}/invocations"
            assert label(url) == "pair/1"
            moves.point("pair", "production", "2")
            until(lambda: label(url) == "pair/2", "version 2")
