"""Any edits in a row, good and bad, while 64 clients ask without pause: no request fails, and what runs is the file."""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.load import Load
from tests.integration.serving import ask, serving, until
from tests.integration.test_reload import MOOD, Reloaded
from tests.integration.test_serve import HAPPY, config
from tests.ports import free_port

CLIENTS = 64
PORTS = [free_port() for _ in range(4)]

Edit = tuple[str, tuple[str, ...], Any]
"""(what it does, where, the value): `live`, `gateways`, `processes`, `comes`, `goes` or `wrong`."""


def edits(kind: str, path: tuple[str, ...], *values: Any) -> st.SearchStrategy[Edit]:
    return st.tuples(st.just(kind), st.just(path), st.sampled_from(values))


edit = st.one_of(
    edits("live", ("models", "edited", "replicas"), 1, 2),
    edits("live", ("models", "edited", "queue"), {"max_rows": 5000}, {"max_rows": 6000}),
    edits("live", ("models", "edited", "cache"), None, {"ttl_s": 1}),
    edits("live", ("models", "edited", "batch"), {}, {"max_bytes": 100_000}),
    edits("live", ("models", "edited", "traffic"), None, {"production": 9, "next": 1}),
    edits("live", ("health", "ready"), "all", "any"),
    edits("gateways", ("models", "edited", "port"), None, *PORTS[:3]),
    edits("gateways", ("models", "edited", "pin_header"), True, False),
    edits("gateways", ("gateway", "processes"), 1, 2),
    edits("gateways", ("gateway", "max_connections"), 5000, 6000),
    edits("processes", ("models", "edited", "env"), {"LANGUAGE": "de"}, {"LANGUAGE": "fr"}),
    edits("comes", ("models", "passing"), {"uri": MOOD}, {"uri": MOOD, "port": PORTS[3]}),
    edits("goes", ("models", "passing"), None),
    edits("wrong", ("models", "edited", "replicas"), 0, "many"),
    edits("wrong", ("models", "edited", "uri"), "", "models:/"),
    edits("wrong", ("models", "nonsense here"), {"uri": MOOD}),
    edits("wrong", ("home",), "elsewhere"),
    edits("wrong", ("gateway", "host"), "no.such.host.invalid"),
    edits("wrong", ("tls",), {"certificate": "there-is-none.pem"}),
    edits("wrong", ("auth",), {"keys": "there-are-none"}),
)  # fmt: skip


def changed(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(document)
    into = made
    for key in path[:-1]:
        into = into.setdefault(key, {})
    into.pop(path[-1], None)
    if value is not None:
        into[path[-1]] = value
    return made


class Case:
    """The server under load, and what must stay as it was."""

    def __init__(self, one: Reloaded, load: Load) -> None:
        self.one = one
        self.load = load
        self.untouched = one.pids("untouched")
        self.done = 0

    def try_out(self, kind: str, path: tuple[str, ...], value: Any) -> None:
        one, before = self.one, self.one.document
        edited = one.pids("edited")
        wanted = changed(before, path, value)
        answer = one.become(wanted)
        if kind == "wrong":
            assert answer.status == 409, answer
            one.document = before
        else:
            assert answer.status == 200, answer.body
            self.check_that_what_runs_is_the_file(wanted)
        now = one.pids("edited")
        if kind != "processes":
            assert now <= edited or edited <= now, "only their number may have changed"
        elif answer.json["changes"]:
            assert not now & edited
        assert one.pids("untouched") == self.untouched
        assert set(self.load.statuses) == {200}, self.load.statuses
        self.done += 1

    def check_that_what_runs_is_the_file(self, document: dict[str, Any]) -> None:
        compared = ask(f"{self.one.server.admin}/api/reload").json
        assert (compared["changes"], compared["pending"], compared["problem"]) == ([], {}, None)
        told = {model["name"]: model for model in ask(f"{self.one.server.admin}/api/models").json["models"]}
        assert told.keys() == document["models"].keys()
        for name, model in document["models"].items():
            assert told[name]["replicas"]["wanted"] == model.get("replicas", 1)
            assert told[name]["port"] == model.get("port")
            assert set(told[name]["sides"]) == set(model.get("traffic", {})) - {"production"}
        assert len(self.one.gateways()) == document["gateway"].get("processes", 1)
        listening = {port for port in PORTS if _listens(port)}
        assert listening == {model["port"] for model in document["models"].values() if "port" in model}


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def case(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    directory: Path = tmp_path_factory.mktemp("under-load")
    document = config(registry, edited={"uri": MOOD}, untouched={"uri": MOOD})
    document["models"] = {name: {"uri": MOOD} for name in document["models"]}
    document["gateway"] = {"port": free_port()}
    with serving(directory, document, "--watch") as server:
        server.url("untouched")
        one = Reloaded(server, directory / "headrace.yaml", yaml.safe_load(yaml.safe_dump(document)))
        with Load(f"http://127.0.0.1:{document['gateway']['port']}/models/edited/invocations", HAPPY, CLIENTS) as load:
            load.more(CLIENTS)
            yield Case(one, load)
            load.more(CLIENTS)
        assert set(load.statuses) == {200}


def test_a_file_that_changes_is_taken_over_by_itself(case: Case) -> None:
    wanted = changed(case.one.document, ("models", "edited", "timeout_s"), 33)
    case.one.write(wanted)
    until(lambda: not ask(f"{case.one.server.admin}/api/reload").json["changes"], "the change to be in force")
    case.check_that_what_runs_is_the_file(wanted)
    assert case.one.history("edited")[-1]["reason"].endswith("; by the file itself")


def test_a_few_edits_lose_no_request(case: Case) -> None:
    """One of each kind, which 'make test' has time for."""
    for one in (
        ("live", ("models", "edited", "replicas"), 2),
        ("comes", ("models", "passing"), {"uri": MOOD, "port": PORTS[3]}),
        ("wrong", ("models", "edited", "replicas"), 0),
        ("gateways", ("models", "edited", "port"), PORTS[0]),
        ("processes", ("models", "edited", "env"), {"LANGUAGE": "de"}),
        ("wrong", ("auth",), {"keys": "there-are-none"}),
        ("gateways", ("gateway", "processes"), 2),
        ("goes", ("models", "passing"), None),
        ("gateways", ("gateway", "processes"), 1),
    ):
        case.try_out(*one)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_edits_lose_no_request(case: Case) -> None:
    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(edit, st.integers())  # the number has Hypothesis take an edit again after others
    def run(one: Edit, _: int) -> None:
        case.try_out(*one)

    before = case.done
    run()
    assert case.done - before == 100
    print(f"{sum(case.load.statuses.values()):,} requests")  # noqa: T201 - shown by pytest -s, for docs/reliability.md
