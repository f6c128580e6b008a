"""Canary, shadow, pins, and every model of a registry: through the whole of headrace, from a sqlite registry."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import JSON, ask, serving, until

TEXT = {"dataframe_records": [{"text": "a text"}]}


def config(registry: str, **models: dict[str, Any]) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {name: {"environment": "local", **model} for name, model in models.items()},
    }


def labels(url: str, count: int = 20, **headers: str) -> Counter[str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Counter(ask(url, TEXT, headers={**JSON, **named}).headers["headrace-model"] for _ in range(count))


@pytest.mark.slow
def test_a_canary_takes_its_share_and_is_promoted(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "main", "1")
    moves.point("shifty", "canary", "1")
    model = {
        "uri": "models:/shifty@main",
        "port": 0,
        "traffic": {"main": 80, "canary": 20},
        "shadow": {"alias": "dark", "share": 0.5},
        "pin_header": True,
        "rollout": {"bake_s": 0},
    }
    with serving(tmp_path, config(moves.uri, shifty=model)) as one:
        url = f"{one.url('shifty')}/invocations"
        # The same version: one set of processes, all the traffic. The shadow's alias does not exist yet: told, no harm.
        assert labels(url) == {"shifty/1": 20}
        until(lambda: one.status("shifty")["sides"]["canary"]["resting"] == "shifty/1", "the canary to rest")
        until(lambda: "no alias 'dark'" in (one.status("shifty")["sides"]["dark"]["missing"] or ""), "told")
        with Load(url, TEXT) as load:
            # One that cannot load: its share stays with the main version.
            moves.point("shifty", "canary", "3")
            until(lambda: one.status("shifty")["sides"]["canary"]["problem"], "the failure to be told")
            assert one.status("shifty")["problem"] is None
            assert labels(url) == {"shifty/1": 20}
            moves.point("shifty", "canary", "2")
            until(lambda: "shifty/2" in labels(url, 5), "the canary")
            load.more(100)
            assert labels(url, 5, Headrace_Version="2") == {"shifty/2": 5}
            assert labels(url, 5, Headrace_Version="main") == {"shifty/1": 5}
            unknown = ask(url, TEXT, headers={**JSON, "Headrace-Version": "6"})
            assert unknown.status == 404
            assert "there are: '1', '2', 'canary', 'main'" in unknown.json["message"]
            # A shadow sees requests and answers none.
            moves.point("shifty", "dark", "6")
            until(lambda: one.status("shifty")["sides"]["dark"]["current"], "the shadow")
            load.more(100)
            # Promotion: the canary's processes go, what it served goes on.
            moves.point("shifty", "main", "2")
            until(lambda: one.status("shifty")["sides"]["canary"]["resting"] == "shifty/2", "the canary to rest again")
            until(lambda: labels(url, 10) == {"shifty/2": 10}, "version 2 for all")
            load.more(100)
        assert set(load.statuses) == {200}, load.statuses
        assert load.labels == {"shifty/1", "shifty/2"}
        entries = ask(f"{one.admin}/api/models/shifty/history").json
        assert [(e["version"], e.get("alias")) for e in entries if e["event"] == "serving"] == [
            ("shifty/1", None),
            ("shifty/2", "canary"),
            ("shifty/6", "dark"),
            ("shifty/2", None),
        ]


@pytest.mark.slow  # the unit tests of canaries have the rules, and the test before this one has a canary as a whole
def test_a_canary_is_held_to_what_the_main_version_does(moves: Registry, tmp_path: Path) -> None:
    """One with another signature never gets its share; one that does badly gives it back, until the alias moves."""
    moves.point("shifty", "steady", "1")
    moves.point("shifty", "trial", "5")
    model = {
        "uri": "models:/shifty@steady",
        "port": 0,
        "traffic": {"steady": 50, "trial": 50},
        "rollout": {"bake_s": 600, "min_requests": 20},
    }

    def trial() -> dict[str, Any]:
        side: dict[str, Any] = one.status("shifty")["sides"]["trial"]
        return side

    with serving(tmp_path, config(moves.uri, shifty=model)) as one:
        url = f"{one.url('shifty')}/invocations"
        assert "signature is incompatible" in one.event("FAILED", version="shifty/5")["reason"]
        assert labels(url, 10) == {"shifty/1": 10}
        with Load(url, TEXT, clients=2) as load:
            moves.point("shifty", "trial", "7")
            withdrawn = one.event("withdrawn", version="shifty/7")
            assert "answers were errors (0.0% with shifty/1)" in withdrawn["reason"]
            until(lambda: trial()["current"] is None and not one.processes("shifty/7"), "it to go")
        assert load.labels == {"shifty/1", "shifty/7"}
        assert labels(url, 20) == {"shifty/1": 20}
        assert trial()["problem"].startswith("shifty/7: withdrawn: ")
        assert [bad["version"] for bad in trial()["bad"]] == ["shifty/7"]
        assert one.status("shifty")["problem"] is None
        assert one.stop() == 0
    with serving(tmp_path, config(moves.uri, shifty=model)) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: (trial()["problem"] or "").startswith("shifty/7: withdrawn: "), "what is known of it")
        assert trial()["current"] is trial()["candidate"] is None, "it stays out over a restart"
        # Ended by pointing it at what serves: nothing is wrong any more.
        moves.point("shifty", "trial", "1")
        until(lambda: trial()["resting"] == "shifty/1", "it to rest")
        assert (trial()["problem"], trial()["bad"]) == (None, [])
        moves.point("shifty", "trial", "2")
        until(lambda: labels(url, 10) == {"shifty/1": 5, "shifty/2": 5}, "the next one")
        # Whoever deletes a canary's alias means to end it; the main one's is another matter.
        with Load(url, TEXT, clients=2) as load:
            moves.point("shifty", "trial", "-")
            until(lambda: trial()["current"] is None and not one.processes("shifty/2"), "it to go")
            load.more()
        assert set(load.statuses) == {200}
        assert labels(url, 10) == {"shifty/1": 10}
        assert "no alias 'trial'" in trial()["missing"]
        assert one.status("shifty")["registry_problem"] is trial()["registry_problem"] is None
        assert one.stop() == 0
    with serving(tmp_path, config(moves.uri, shifty=model)) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: trial()["missing"], "the alias to be missed")
        assert labels(url, 10) == {"shifty/1": 10}
        moves.point("shifty", "trial", "2")
        until(lambda: labels(url, 10) == {"shifty/1": 5, "shifty/2": 5}, "it to come back")
        entries = ask(f"{one.admin}/api/models/shifty/history").json
        assert [(e["event"], e["version"]) for e in entries if e.get("alias") == "trial"] == [
            ("refused", "shifty/5"),
            ("serving", "shifty/7"),
            ("withdrawn", "shifty/7"),
            ("serving", "shifty/2"),
            ("ended", "shifty/2"),
            ("serving", "shifty/2"),
        ]


@pytest.mark.slow  # the unit tests of canaries have the rule
def test_what_the_main_alias_has_sent_back_gets_no_share(moves: Registry, tmp_path: Path) -> None:
    """A canary that was promoted, and then sent back, is no canary again; nor does it come back by a restart."""
    moves.point("shifty", "calm", "1")
    moves.point("shifty", "keen", "2")
    model = {"uri": "models:/shifty@calm", "port": 0, "traffic": {"calm": 50, "keen": 50}, "rollout": {"bake_s": 0}}

    def keen() -> dict[str, Any]:
        side: dict[str, Any] = one.status("shifty")["sides"]["keen"]
        return side

    with serving(tmp_path, config(moves.uri, shifty=model)) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: labels(url, 10) == {"shifty/1": 5, "shifty/2": 5}, "the canary")
        moves.point("shifty", "calm", "2")
        until(lambda: keen()["resting"] == "shifty/2", "it to be promoted")
        assert ask(f"{one.admin}/api/models/shifty/rollback", {}).status == 200
        until(lambda: "sent back" in (keen()["problem"] or ""), "it to stay out")
        assert labels(url, 10) == {"shifty/1": 10}
        assert keen()["resting"] is None
        moves.point("shifty", "calm", "1")
        until(
            lambda: labels(url, 10) == {"shifty/1": 5, "shifty/2": 5}, "the canary, now that nothing is held against it"
        )
        moves.point("shifty", "keen", "1")
        until(lambda: keen()["resting"] == "shifty/1", "it to be ended")
        assert one.stop() == 0
    # Nor does it come back because the registry cannot be asked.
    database = Path(moves.uri.removeprefix("sqlite:///"))
    away = database.with_suffix(".away")
    database.rename(away)
    database.mkdir()  # neither a database nor absent: MLflow cannot open it
    try:
        with serving(tmp_path, config(moves.uri, shifty=model)) as one:
            url = f"{one.url('shifty')}/invocations"
            until(lambda: keen()["registry_problem"], "the registry to be missed")
            assert keen()["candidate"] is keen()["current"] is None
            assert labels(url, 10) == {"shifty/1": 10}
    finally:
        database.rmdir()
        away.rename(database)


_SETUP = """
import sys, warnings
warnings.filterwarnings("ignore")
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
source = client.get_model_version("shifty", "1")
for name in ("all-one", "all-two"):
    client.create_registered_model(name)
    client.create_model_version(name, source.source, source.run_id, model_id=source.source.removeprefix("models:/"))
"""


_ANEW = """
import sys, warnings
warnings.filterwarnings("ignore")
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
source = client.get_model_version("shifty", "6")
client.delete_registered_model("all-two")
client.create_registered_model("all-two")
client.create_model_version("all-two", source.source, source.run_id, model_id=source.source.removeprefix("models:/"))
client.set_registered_model_alias("all-two", "wild", "1")
"""


@pytest.fixture(scope="module")
def many(registry: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SETUP, registry], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def served(base: str) -> dict[str, bool]:
    return {m["name"]: m["ready"] for m in ask(f"{base}/models").json}


@pytest.mark.usefixtures("many")
def test_every_model_with_an_alias_comes_and_goes(moves: Registry, tmp_path: Path) -> None:
    moves.point("all-two", "wild", "1")
    moves.point("shifty", "wild", "1")
    document = config(moves.uri, **{"*": {"uri": "models:/*@wild"}, "shifty": {"uri": "models:/shifty/2"}})
    document["gateway"] = {"port": 0}
    with serving(tmp_path, document) as one:
        base = one.url("shifty")
        until(lambda: served(base) == {"shifty": True, "all-two": True}, "the two models")
        # What is named explicitly wins.
        assert labels(f"{base}/models/shifty/invocations", 3) == {"shifty/2": 3}
        assert labels(f"{base}/models/all-two/invocations", 3) == {"all-two/1": 3}
        assert ask(f"{one.admin}/api/models").json["wildcard"]["left_out"].keys() == {"shifty"}
        moves.point("all-one", "wild", "1")
        until(lambda: served(base).get("all-one"), "a third model")
        with Load(f"{base}/models/all-one/invocations", TEXT) as load:
            load.more()
            moves.point("all-two", "wild", "-")
            until(lambda: "all-two" not in served(base), "it to go")
            load.more()
        assert set(load.statuses) == {200}
        one.event("model gone", model="all-two")
        assert not one.processes("all-two")
        assert ask(f"{base}/models/all-two/invocations", TEXT).status == 404
        moves.point("all-two", "wild", "1")
        until(lambda: served(base).get("all-two"), "it to come back")
        # Another model by the same name, its only version called 1 as well: within one poll, or over two.
        done = subprocess.run([sys.executable, "-c", _ANEW, moves.uri], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        until(lambda: b"v6" in ask(f"{base}/models/all-two/invocations", TEXT).body, "the new model")
