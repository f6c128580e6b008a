"""Every number on the admin port is exact after known traffic, and none goes back when processes are killed.

One headrace is sent everything that moves a number; it is scraped, then processes are killed, then it is scraped again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import pytest

from headrace.telemetry.metrics import DEFINITIONS
from tests.integration.known_traffic import (
    TIMEOUT_S,
    Scrape,
    configuration,
    kill,
    roll_out,
    send_traffic,
    texts,
    wait_for,
)
from tests.integration.moving import Registry
from tests.integration.serving import serving
from tests.ports import free_port


class Seen(NamedTuple):
    """What was scraped: while a worker was busy, when all was answered, and after kills and a few more requests."""

    busy: Scrape
    traffic: Scrape
    kills: Scrape


@pytest.fixture(scope="module")
def seen(registry: str, moves: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory = tmp_path_factory.mktemp("metrics")
    port = free_port()
    moves.point("mood", "metrics", "1")
    moves.point("mood", "dark", "2")
    moves.point("shifty", "metrics", "1")
    with serving(directory, configuration(registry, port)) as one:
        busy = send_traffic(one, directory, f"http://127.0.0.1:{port}")
        roll_out(one, moves)
        traffic = wait_for(one, "headrace_shadow_total", 3)
        yield Seen(busy, traffic, kill(one))


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
