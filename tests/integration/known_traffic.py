"""Traffic that moves every number on the admin port, the scrapes of it, and the kills after it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.moving import Registry
from tests.integration.serving import JSON, Serving, ask, until
from tests.processes import command

TIMEOUT_S = 10.0
GOOD, BAD, OTHER = "good great happy", "bad awful sad", "excellent fun"


class Scrape:
    """One exposition: its text, and its samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = {(s.name, frozenset(s.labels.items())): s.value for f in self.families for s in f.samples}

    def of(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels."""
        return sum(v for (n, found), v in self.samples.items() if n == name and labels.items() <= dict(found).items())

    def series(self, name: str, **labels: str) -> list[dict[str, str]]:
        """The labels of the series that have these."""
        found = [dict(of) for n, of in self.samples if n == name]
        return [of for of in found if labels.items() <= of.items()]


def scrape(one: Serving) -> Scrape:
    answer = ask(f"{one.admin}/metrics")
    assert answer.status == 200
    return Scrape(answer.body.decode())


def wait_for(one: Serving, name: str, value: float, **labels: str) -> Scrape:
    """Scrape until a metric has this value."""
    found: Scrape = until(
        lambda: (now := scrape(one)).of(name, **labels) == value and now, f"{name} {labels} = {value}"
    )
    return found


def texts(*values: str) -> dict[str, list[str]]:
    return {"instances": list(values)}


def statuses(url: str, *bodies: Any) -> list[int]:
    return [ask(f"{url}/invocations", body).status for body in bodies]


def in_background(url: str, *orders: str) -> Callable[[], list[int]]:
    """Ask at the same time, each on its own connection; call the result to have the statuses."""
    found: list[int] = []

    def one(order: str) -> None:
        found.extend(statuses(url, texts(order)))

    threads = [threading.Thread(target=one, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()

    def done() -> list[int]:
        for thread in threads:
            thread.join()
        return found

    return done


@contextlib.contextmanager
def asked(url: str, order: str) -> Iterator[None]:
    """A client that asks and leaves without waiting for the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("POST", "/invocations", json.dumps(texts(order)), JSON)
    yield
    connection.close()


def configuration(registry: str, shared_port: int) -> dict[str, Any]:
    quiet = {"bake_s": 0}
    models: dict[str, dict[str, Any]] = {
        # Nobody listens at the shared cache's address: it is asked in vain, and nobody notices.
        "mood": {"uri": "models:/mood@metrics", "cache": {"url": "redis://127.0.0.1:1/0"}, "shadow": "dark"},
        # One call at a time, so that others wait.
        "moody": {
            "uri": "models:/moody/1",
            "timeout_s": TIMEOUT_S,
            "queue": {"max_rows": 4},
            "cache": {},
            "concurrency": 1,
        },
        "shifty": {"uri": "models:/shifty@metrics", "rollout": quiet},
        "picky": {"uri": "models:/picky/1", "probe": {"every_s": 0.5, "request": texts("a probe")}},
    }
    return {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "log": {"access": "full"},
        "gateway": {"port": shared_port},
        "models": {name: {"port": 0, "environment": "local", **model} for name, model in models.items()},
    }


def shadowed(one: Serving) -> bool:
    """Whether the gateway copies the requests to `mood` from now on."""
    told = ask(f"{one.admin}/api/models").json
    (mood,) = (model for model in told["models"] if model["name"] == "mood")
    return bool(mood["sides"]["dark"]["current"] and told["gateways"]["in_force"])


def send_traffic(one: Serving, directory: Path, shared: str) -> Scrape:
    """Everything that clients can do. Returns what a scrape shows while the worker is busy."""
    mood, moody = one.url("mood"), one.url("moody")
    until(lambda: shadowed(one), "the shadow to be there")
    assert statuses(mood, texts(GOOD), texts(BAD), texts(GOOD, BAD, OTHER)) == [200] * 3
    assert statuses(mood, *[texts(GOOD)] * 6) == [200] * 6

    # One is worked on and another waits for the same answer; four wait, one of them leaves; the next is too many.
    gate = directory / "gate"
    twins = in_background(moody, f"wait:{gate}")
    wait_for(one, "headrace_in_flight_requests", 1, model="moody")
    twins_too = in_background(moody, f"wait:{gate}")
    wait_for(one, "headrace_cache_requests_total", 1, model="moody", result="coalesced")
    waiting = in_background(moody, "a", "b", "c")
    wait_for(one, "headrace_queued_requests", 3, model="moody")
    with asked(moody, "d"):
        busy = wait_for(one, "headrace_queued_rows", 4, model="moody")
        assert statuses(moody, texts("e")) == [503]
    wait_for(one, "headrace_dropped_total", 1, model="moody")
    gate.touch()
    assert [*twins(), *twins_too(), *waiting()] == [200] * 5

    # The model's own error; a deadline of the client's; a worker that is killed by a request, twice; one that hangs.
    assert statuses(moody, texts("raise:this is a test")) == [400]
    late = directory / "late"
    headers = {**JSON, "Request-Timeout-Ms": "100"}
    assert ask(f"{moody}/invocations", texts(f"wait:{late}"), headers=headers).status == 504
    late.touch()
    assert statuses(moody, texts("die")) == [500]
    assert statuses(moody, texts(f"wait:{directory / 'never'}")) == [504]
    assert statuses(moody, texts("well again")) == [200]

    # Requests that no model sees.
    assert [ask(f"{mood}{path}").status for path in ("/ping", "/health", "/version", "/nothing")] == [
        200,
        200,
        200,
        404,
    ]
    assert ask(f"{mood}/invocations", method="GET").status == 405
    assert statuses(f"{shared}/models/no-such-model", texts("a")) == [404]
    with socket.create_connection((urlsplit(mood).hostname, urlsplit(mood).port)) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert statuses(one.url("picky"), texts("a", "b"), texts("c")) == [200, 200]
    hazardous = {"instances": [{"text": None}]}
    assert statuses(one.url("shifty"), hazardous, hazardous) == [200, 200]
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    assert ask(f"{one.url('shifty')}/v2/models/shifty/infer", {"inputs": [tensor]}).status == 200
    return busy


def roll_out(one: Serving, moves: Registry) -> None:
    """A version that does not load, one that a check refuses, a good one, and back."""
    moves.point("shifty", "metrics", "3")
    wait_for(one, "headrace_rollout_problem", 1, model="shifty")
    moves.point("shifty", "metrics", "5")
    wait_for(one, "headrace_rollouts_total", 1, model="shifty", outcome="refused")
    moves.point("shifty", "metrics", "2")
    wait_for(one, "headrace_version_info", 1, model="shifty", version="shifty/2")
    assert ask(f"{one.admin}/api/models/shifty/rollback", method="POST").status == 200
    wait_for(one, "headrace_version_info", 1, model="shifty", version="shifty/1")


def kill(one: Serving) -> Scrape:
    """A gateway, a worker, a host and the registry agent; then one more request to each model that lost something."""
    (gateway,) = one.processes("headrace.gateway")
    (agent,) = one.processes("headrace.registry")
    (replica,) = (p for p in one.processes("role=replica") if "picky/1" in command(p))
    (host,) = (p for p in one.processes("role=host") if "picky/1" in command(p))
    for process in (gateway, agent, replica):
        os.kill(process.pid, signal.SIGKILL)
    wait_for(one, "headrace_worker_restarts_total", 1, model="picky", reason="died")
    wait_for(one, "headrace_workers", 1, model="picky", state="ready")
    os.kill(host.pid, signal.SIGKILL)
    wait_for(one, "headrace_worker_restarts_total", 1, model="picky", reason="host")
    wait_for(one, "headrace_gateway_restarts_total", 1)
    wait_for(one, "headrace_registry_agent_restarts_total", 1)
    until(lambda: statuses(one.url("picky"), texts("d")) == [200], "the new gateway to answer")
    assert statuses(one.url("mood"), texts("a new one")) == [200]
    return wait_for(one, "headrace_shadow_total", 4)
