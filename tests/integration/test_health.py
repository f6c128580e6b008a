"""What orchestrators ask: alive, started, ready, as a whole and for each model; and what probes find out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import registries
from tests.integration.serving import Answer, Serving, ask, serving, until
from tests.ports import free_port

HAPPY = {"instances": ["good great happy"]}
NOTES = "notes"
BOTH = ("GET", "HEAD")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("health")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def shared(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def one(registry: str, place: Path, port: int) -> Iterator[Serving]:
    """Ready when any model is: one that is probed, one that is not, one that cannot load, one that breaks by itself."""
    often = {"every_s": 0.1, "failures": 2, "successes": 2}
    request = {"instances": [f"note:{place / NOTES}"]}
    models: dict[str, dict[str, Any]] = {
        "moody": {
            "uri": registries.place(registry, "moody/1"),
            "replicas": 2,
            "cache": {},
            "probe": {**often, "request": request},
        },
        "mood": {"uri": registries.place(registry, "mood/1")},
        "broken": {"uri": registries.place(registry, "broken/1")},
        "shifty": {"uri": registries.place(registry, "shifty/7"), "probe": often},
    }
    document = {
        "admin": {"port": 0},
        "gateway": {"port": port},
        "health": {"ready": "any"},
        "models": {name: {"port": 0, **model} for name, model in models.items()},
    }
    with serving(place, document) as running:
        until(lambda: running.status("moody")["replicas"]["ready"] == 2, "both replicas")
        yield running


def everywhere(one: Serving, shared: str, model: str) -> set[int]:
    """The statuses of every place that says whether a model is ready, by both methods."""
    urls = [f"{one.admin}/readyz/{model}", f"{one.url(model)}/ping", f"{one.url(model)}/health"]
    urls.append(f"{shared}/models/{model}/ping")
    return {ask(url, method=method).status for url in urls for method in BOTH}


def whole(one: Serving, shared: str) -> list[Answer]:
    """What is said of all models together."""
    return [ask(f"{one.admin}/readyz"), ask(f"{shared}/ping"), ask(f"{shared}/health", method="HEAD")]


def test_alive_started_ready(one: Serving, shared: str) -> None:
    for method in BOTH:
        for path in ("/livez", "/startedz", "/startedz/mood", "/readyz", "/readyz/mood"):
            assert ask(f"{one.admin}{path}", method=method).status == 200, path
        assert ask(f"{one.admin}/readyz/nobody", method=method).status == 404
    assert ask(f"{one.admin}/startedz/nobody").status == 404
    assert everywhere(one, shared, "mood") == {200}


def test_a_model_that_cannot_load_has_started_and_is_not_ready(one: Serving, shared: str) -> None:
    assert ask(f"{one.admin}/startedz/broken").status == 200, "starting again would not help it"
    assert everywhere(one, shared, "broken") == {503}
    assert "the weights are missing" in ask(f"{one.admin}/readyz/broken").json["waiting_for"]["broken"]
    assert "broken" in ask(f"{one.admin}/readyz").json["waiting_for"], "any is enough, and still the others are told"


def test_each_replica_is_probed_past_the_cache_and_counted_nowhere(one: Serving, place: Path) -> None:
    replicas = {str(p["pid"]) for p in one.status("moody")["current"]["processes"] if p["role"] == "replica"}
    asked = until(lambda: (place / NOTES).read_text().split(), "probes")
    until(lambda: set((place / NOTES).read_text().split()) == replicas, "a probe of each replica")
    until(lambda: len((place / NOTES).read_text().split()) > len(asked) + 4, "more probes: no cache answers them")
    seen = ask(f"{one.admin}/metrics").body.decode()
    lines = [line for line in seen.splitlines() if 'model="moody"' in line and not line.startswith("#")]
    counted = {line for line in lines if line.startswith(("headrace_requests", "headrace_request_seconds_count"))}
    assert any(line.startswith('headrace_probes_total{model="moody",result="passed"') for line in lines), lines
    counted |= {line for line in lines if line.startswith(("headrace_rows_total", "headrace_batches_total"))}
    assert {line.rpartition(" ")[2] for line in counted} <= {"0.0"}, counted


def test_a_model_whose_predict_fails_is_unready_until_it_works_again(one: Serving, shared: str, place: Path) -> None:
    broken = place / f"{NOTES}.broken"
    assert everywhere(one, shared, "moody") == {200}
    broken.touch()
    told = one.event("unwell", model="moody")
    assert "out of order" in told["reason"]
    assert told["probes"] == 2
    until(lambda: everywhere(one, shared, "moody") == {503}, "all places to say so")
    assert one.status("moody")["state"] == "UNREADY"
    assert "</svg>unready</span>" in ask(f"{one.admin}/models/moody").body.decode()
    status = one.status("moody")
    assert (status["ready"], status["probe"]["well"], status["probe"]["last"]["status"]) == (False, False, 400)
    assert "out of order" in ask(f"{one.admin}/readyz/moody").json["waiting_for"]["moody"]
    assert "out of order" in ask(f"{one.url('moody')}/ping").json["message"]
    # It is asked all the same: what it can answer, it does; and the others make the whole ready.
    assert ask(f"{one.url('moody')}/invocations", {"instances": ["a"]}).json == {"predictions": ["a"]}
    assert {answer.status for answer in whole(one, shared)} == {200}
    broken.unlink()
    one.event("well again", model="moody")
    until(lambda: everywhere(one, shared, "moody") == {200}, "all places to say so")


def test_a_model_is_probed_with_its_own_example(one: Serving, shared: str) -> None:
    told = one.event("unwell", model="shifty")  # its predict fails after ten calls
    assert "nothing works" in told["reason"]
    until(lambda: everywhere(one, shared, "shifty") == {503}, "all places to say so")
    assert ask(f"{one.url('shifty')}/invocations", {"inputs": ["x"]}).status >= 400


def test_a_gateway_that_is_new_knows_who_is_unwell(one: Serving, shared: str) -> None:
    one.event("unwell", model="shifty")
    (gateway,) = one.processes("headrace.gateway")
    gateway.kill()
    until(lambda: [p.pid for p in one.processes("headrace.gateway")] not in ([], [gateway.pid]), "a new gateway")
    until(lambda: everywhere(one, shared, "mood") == {200}, "the model that is well")
    assert everywhere(one, shared, "shifty") == {503}
