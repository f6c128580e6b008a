"""Every number on the admin port is exact after known traffic, and none goes back when processes are killed.

One headrace is sent everything that moves a number; it is scraped, then processes are killed, then it is scraped again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.telemetry.metrics import DEFINITIONS
from tests.integration.moving import Registry
from tests.integration.serving import JSON, Serving, ask, serving, until

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


class Seen(NamedTuple):
    """What was scraped: while a worker was busy, when all was answered, and after kills and a few more requests."""

    busy: Scrape
    traffic: Scrape
    kills: Scrape


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


@pytest.fixture(scope="module")
def seen(registry: str, moves: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory = tmp_path_factory.mktemp("metrics")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    moves.point("mood", "metrics", "1")
    moves.point("mood", "dark", "2")
    moves.point("shifty", "metrics", "1")
    with serving(directory, configuration(registry, port)) as one:
        busy = send_traffic(one, directory, f"http://127.0.0.1:{port}")
        roll_out(one, moves)
        traffic = wait_for(one, "headrace_shadow_total", 3)
        yield Seen(busy, traffic, kill(one))


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
    (replica,) = (p for p in one.processes("role=replica") if "picky/1" in " ".join(p.cmdline()))
    (host,) = (p for p in one.processes("role=host") if "picky/1" in " ".join(p.cmdline()))
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


MOOD, DARK = {"model": "mood", "version": "mood/1"}, {"model": "mood", "version": "mood/2"}
MOODY, PICKY = {"model": "moody", "version": "moody/1"}, {"model": "picky", "version": "picky/1"}
SHIFTY = {"model": "shifty", "version": "shifty/1"}
INVOKED = "headrace_requests_total"

# moody worked on: what two waited for, three that had waited (one batch), the error, the late one, and the last one;
# two workers died with a batch, and one hung with one.
EXACT: list[tuple[str, dict[str, str], float]] = [
    (INVOKED, {**MOOD, "route": "invocations", "status": "200"}, 9),
    (INVOKED, {**DARK, "route": "shadow", "status": "200"}, 3),
    (INVOKED, {**DARK, "route": "invocations"}, 0),
    (INVOKED, {**MOODY, "route": "invocations", "status": "200"}, 6),
    (INVOKED, {**MOODY, "route": "invocations", "status": "400"}, 1),
    (INVOKED, {**MOODY, "route": "invocations", "status": "500"}, 1),
    (INVOKED, {**MOODY, "route": "invocations", "status": "503"}, 1),
    (INVOKED, {**MOODY, "route": "invocations", "status": "504"}, 2),
    (INVOKED, {**PICKY, "route": "invocations", "status": "200"}, 2),
    (INVOKED, {**SHIFTY, "route": "invocations", "status": "200"}, 3),
    ("headrace_protocol_requests_total", {"model": "shifty", "protocol": "v2"}, 1),
    (INVOKED, {"route": "health", "status": "200"}, 2),
    (INVOKED, {"route": "version", "status": "200"}, 1),
    (INVOKED, {"route": "not_found", "status": "404"}, 1),
    (INVOKED, {"route": "wrong_method", "status": "405"}, 1),
    (INVOKED, {"route": "invocations", "status": "404"}, 1),
    ("headrace_request_seconds_count", MOOD, 9),
    ("headrace_request_seconds_count", MOODY, 11),
    ("headrace_request_seconds_bucket", {**MOODY, "le": "+Inf"}, 11),
    ("headrace_queue_wait_seconds_count", MOODY, 6),
    ("headrace_in_flight_requests", MOODY, 0),
    ("headrace_model_errors_total", MOODY, 1),
    ("headrace_shed_total", MOODY, 1),
    ("headrace_dropped_total", MOODY, 1),
    ("headrace_deadline_exceeded_total", MOODY, 2),
    ("headrace_retried_total", MOODY, 1),
    ("headrace_shadow_total", {**DARK, "result": "different"}, 3),
    ("headrace_hazards_total", {**SHIFTY, "hazard": "null_as_text"}, 2),
    ("headrace_refused_total", {"code": "BAD_REQUEST"}, 1),
    ("headrace_queued_requests", {}, 0),
    ("headrace_queued_rows", {}, 0),
    ("headrace_queued_bytes", {}, 0),
    ("headrace_queue_limit_rows", {"model": "moody"}, 4),
    ("headrace_batches_total", MOOD, 3),
    ("headrace_batch_requests_count", MOOD, 3),
    ("headrace_batch_requests_sum", MOOD, 3),
    ("headrace_batch_rows_count", MOOD, 3),
    ("headrace_batch_rows_sum", MOOD, 5),
    ("headrace_rows_total", MOOD, 5),
    ("headrace_predicts_total", MOOD, 3),
    ("headrace_parse_seconds_count", MOOD, 3),
    ("headrace_predict_seconds_count", MOOD, 3),
    ("headrace_serialise_seconds_count", MOOD, 3),
    ("headrace_batch_rows_bucket", {**MOOD, "le": "2"}, 2),
    ("headrace_batches_total", MOODY, 5),
    ("headrace_batch_requests_sum", MOODY, 7),
    ("headrace_cache_requests_total", {**MOOD, "result": "hit"}, 6),
    ("headrace_cache_requests_total", {**MOOD, "result": "miss"}, 3),
    ("headrace_cache_requests_total", {**MOODY, "result": "coalesced"}, 1),
    ("headrace_cache_entries", MOOD, 3),
    ("headrace_cache_entries", MOODY, 5),
    ("headrace_shared_cache_total", MOOD, 3),
    ("headrace_workers_wanted", {"model": "moody"}, 1),
    ("headrace_workers", {**MOODY, "state": "ready"}, 1),
    ("headrace_workers", {**MOODY, "state": "starting"}, 0),
    ("headrace_worker_restarts_total", {**MOODY, "reason": "died"}, 2),
    ("headrace_worker_restarts_total", {**MOODY, "reason": "hung"}, 1),
    ("headrace_worker_restarts_total", {"model": "picky"}, 0),
    ("headrace_workers_lost_total", MOODY, 3),
    ("headrace_workers_hung_total", MOODY, 1),
    ("headrace_model_ready", {}, 4),
    ("headrace_version_info", {}, 5),
    ("headrace_version_info", {**SHIFTY, "uri": "models:/shifty@metrics", "policy": "local"}, 1),
    ("headrace_version_state", {**SHIFTY, "state": "SERVING"}, 1),
    ("headrace_rollouts_total", {"model": "shifty", "outcome": "succeeded"}, 2),
    ("headrace_rollouts_total", {"model": "shifty", "outcome": "failed"}, 1),
    ("headrace_rollouts_total", {"model": "shifty", "outcome": "refused"}, 1),
    ("headrace_rollouts_total", {"model": "shifty", "outcome": "abandoned"}, 0),
    ("headrace_rollouts_total", {"model": "mood", "outcome": "succeeded"}, 2),
    ("headrace_rollbacks_total", {}, 1),
    ("headrace_rollout_problem", {}, 0),
    ("headrace_registry_problem", {}, 0),
    ("headrace_environment_mismatches", PICKY, 2),
    ("headrace_environment_mismatches", {}, 2),
    ("headrace_environment_mismatch_info", {**PICKY, "package": "numpy", "required": "==1.0", "verdict": "differs"}, 1),
    ("headrace_environment_mismatch_info", {**PICKY, "package": "no-such-package", "verdict": "missing"}, 1),
    ("headrace_gateways_running", {}, 1),
    ("headrace_gateway_restarts_total", {}, 0),
    ("headrace_registry_agent_restarts_total", {}, 0),
    ("headrace_build_info", {}, 1),
    ("headrace_probes_total", {**PICKY, "result": "failed"}, 0),
]

# What the kills and the requests after them change.
CHANGED: list[tuple[str, dict[str, str], float]] = [
    (INVOKED, {**MOOD, "route": "invocations", "status": "200"}, 10),
    (INVOKED, {**PICKY, "route": "invocations", "status": "200"}, 3),
    ("headrace_batches_total", MOOD, 4),
    ("headrace_request_seconds_count", MOOD, 10),
    ("headrace_predict_seconds_count", MOOD, 4),
    ("headrace_cache_requests_total", {**MOOD, "result": "miss"}, 4),
    ("headrace_cache_entries", MOOD, 1),
    ("headrace_worker_restarts_total", {**PICKY, "reason": "died"}, 1),
    ("headrace_worker_restarts_total", {**PICKY, "reason": "host"}, 1),
    ("headrace_gateway_restarts_total", {}, 1),
    ("headrace_registry_agent_restarts_total", {}, 1),
    ("headrace_shadow_total", {**DARK, "result": "different"}, 4),
]


def test_known_traffic_is_counted_exactly(seen: Seen) -> None:
    found = {(name, *sorted(labels.items())): seen.traffic.of(name, **labels) for name, labels, _ in EXACT}
    assert found == {(name, *sorted(labels.items())): value for name, labels, value in EXACT}


def test_what_waits_is_shown_while_it_waits(seen: Seen) -> None:
    body = len(json.dumps(texts("a")))
    for name, value in (("requests", 4), ("rows", 4), ("bytes", 4 * body)):
        assert seen.busy.of(f"headrace_queued_{name}", **MOODY) == value
    assert seen.busy.of("headrace_in_flight_requests", **MOODY) == 1
    assert seen.busy.of("headrace_connections_open") >= 6


def test_times_are_those_that_were_taken(seen: Seen) -> None:
    of = seen.traffic.of
    # A request hung for the whole time-out; the model was not in predict for longer than all that waited for it.
    assert TIMEOUT_S <= of("headrace_request_seconds_sum", **MOODY) < 60
    assert 0.1 < of("headrace_predict_seconds_sum", **MOODY) < of("headrace_request_seconds_sum", **MOODY)
    assert 0 < of("headrace_queue_wait_seconds_sum", **MOODY) < of("headrace_request_seconds_sum", **MOODY)
    parts = [of(f"headrace_{part}_seconds_sum", **MOOD) for part in ("parse", "predict", "serialise")]
    assert 0 < sum(parts) < of("headrace_request_seconds_sum", **MOOD)
    now_s = time.time()
    assert now_s - 300 < of("headrace_started_timestamp_seconds") < now_s
    reached_s = of("headrace_registry_reached_timestamp_seconds")
    assert of("headrace_started_timestamp_seconds") < reached_s < now_s


def test_the_failed_versions_workers_are_counted(seen: Seen) -> None:
    assert seen.traffic.of("headrace_worker_restarts_total", version="shifty/3", reason="load") >= 1
    assert seen.traffic.of("headrace_worker_restarts_total", version="shifty/2") == 0


def test_processes_show_what_they_take(seen: Seen) -> None:
    for role, labels, least in (
        ("keeper", {}, 1),
        ("supervisor", {}, 1),
        ("registry", {}, 1),
        ("gateway", {"index": "0"}, 1),
        ("recorder", {}, 1),
        ("zygote", {"index": "0"}, 1),
        ("host", PICKY, 1),
        ("replica", {**PICKY, "index": "0"}, 1),
    ):
        assert len(seen.traffic.series("headrace_process_cpu_seconds_total", role=role, **labels)) == least
        rss = seen.traffic.of("headrace_process_resident_memory_bytes", role=role, **labels)
        assert 5e6 < rss < psutil.virtual_memory().total
        if role in {"host", "replica"}:  # of the others the kernel tells it to root only
            pss = seen.traffic.of("headrace_process_proportional_memory_bytes", role=role, **labels)
            assert 0 < pss <= rss * 1.5  # read at different times
    shared = seen.traffic.of("headrace_process_proportional_memory_bytes", role="replica", **PICKY)
    assert shared < seen.traffic.of("headrace_process_resident_memory_bytes", role="replica", **PICKY) / 1.2
    assert seen.traffic.of("headrace_process_cpu_seconds_total", role="supervisor") > 0


def test_nothing_goes_back_when_processes_are_killed(seen: Seen) -> None:
    counters = ("_total", "_bucket", "_sum", "_count")
    before = {key: value for key, value in seen.traffic.samples.items() if key[0].endswith(counters)}
    assert [key for key, value in before.items() if seen.kills.samples.get(key, -1) < value] == []
    found = {(name, *sorted(labels.items())): seen.kills.of(name, **labels) for name, labels, _ in CHANGED}
    assert found == {(name, *sorted(labels.items())): value for name, labels, value in CHANGED}
    for name, labels, value in EXACT:  # nobody asked these two again
        if name.endswith("_total") and labels.get("model") in {"moody", "shifty"}:
            assert seen.kills.of(name, **labels) == value, (name, labels)


# They are there where there is TLS, a key to be refused, or a quota: `test_tls` and `test_access` look at them.
SECURED = {
    "headrace_access_refused_total",
    "headrace_certificate_expiry_timestamp_seconds",
    "headrace_certificate_reloads_total",
    "headrace_quota_refused_total",
    "headrace_quota_requests_total",
    "headrace_tls_handshakes_total",
}


# And these where traces go to MLflow: `test_mlflow_traces` looks at them.
TRACED = {"headrace_mlflow_traces_up", "headrace_model_spans_total"}


def test_every_metric_is_there_with_its_labels_and_no_other(seen: Seen) -> None:
    for one in (seen.traffic, seen.kills):
        found = {f.name + ("_total" if f.type == "counter" else "") for f in one.families}
        assert found == DEFINITIONS.keys() - SECURED - TRACED
    for family in seen.traffic.families:
        definition = DEFINITIONS[family.name + ("_total" if family.type == "counter" else "")]
        assert (family.type, family.documentation) == (definition.kind, definition.help)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(definition.labels), sample


def test_no_label_is_a_clients_to_choose(seen: Seen) -> None:
    assert "no-such-model" not in seen.traffic.text
    assert "/nothing" not in seen.traffic.text


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_say(seen: Seen) -> None:
    command = [shutil.which("promtool") or "promtool", "check", "metrics"]
    done = subprocess.run(command, input=seen.kills.text, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
