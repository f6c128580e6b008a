"""New versions come up beside the serving one; a bad one never gets there, or is sent back. Under load throughout."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import HEADRACE, Serving, ask, serving, until

TEXT = {"dataframe_records": [{"text": "a text"}]}


def config(registry: str, alias: str, **more: Any) -> dict[str, Any]:
    model = {"uri": f"models:/shifty@{alias}", "port": 0, "environment": "local", **more}
    return {"registry": {"tracking_uri": registry, "poll_s": 0.5}, "admin": {"port": 0}, "models": {"shifty": model}}


def label(url: str) -> str:
    return ask(url, TEXT).headers.get("headrace-model", "")


def history(one: Serving) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = ask(f"{one.admin}/api/models/shifty/history").json
    return entries


def test_good_bad_and_good_again(moves: Registry, tmp_path: Path) -> None:
    """What cannot load, fails its example or changes the signature never serves; what is good does, and goes back."""
    golden = tmp_path / "golden.jsonl"
    golden.write_text(json.dumps({"request": TEXT}) + "\n", encoding="utf-8")
    moves.point("shifty", "life", "1")
    checks = {"file": str(golden)}
    with serving(tmp_path, config(moves.uri, "life", replicas=2, checks=checks)) as one:
        url = f"{one.url('shifty')}/invocations"
        assert label(url) == "shifty/1"
        with Load(url, TEXT) as load:
            load.more()
            for version, why in ((3, "the weights are missing"), (4, "its own example fails"), (5, "signature")):
                moves.point("shifty", "life", str(version))
                failed = one.event("FAILED", version=f"shifty/{version}")
                assert why in failed["reason"]
                assert failed["kept"] == "shifty/1"
                load.more()
                assert why in one.status("shifty")["problem"]
                assert one.status("shifty")["current"]["label"] == "shifty/1"
            moves.point("shifty", "life", "2")
            until(lambda: label(url) == "shifty/2", "version 2")
            load.more()
            assert one.status("shifty")["problem"] is None
            assert one.status("shifty")["warm"]["label"] == "shifty/1"
            # Back to the one that is still warm: nothing is loaded for that.
            loads = len([e for e in one.events if e["event"] == "model loaded"])
            moves.point("shifty", "life", "1")
            until(lambda: label(url) == "shifty/1", "version 1 again")
            assert len([e for e in one.events if e["event"] == "model loaded"]) == loads
            # By hand: the version before, at once, and held although the registry points elsewhere.
            done = subprocess.run(
                [HEADRACE, "rollback", "shifty", "--admin", one.admin, "--reason", "a test"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert "shifty/2 serves again" in done.stdout
            until(lambda: label(url) == "shifty/2", "version 2 after the rollback")
            polls = len(one.events)
            subprocess.run([HEADRACE, "refresh", "shifty", "--admin", one.admin], capture_output=True, check=True)
            load.more(200)
            assert one.status("shifty")["held"] is True
            assert not [e for e in one.events[polls:] if e["event"] == "serving"], (
                "what is held must not move by itself"
            )
            # The alias is deleted: go on, and say so.
            moves.point("shifty", "life", "-")
            until(
                lambda: "no alias 'life'" in (one.status("shifty")["registry_problem"] or ""), "the problem to be told"
            )
            load.more()
        assert set(load.statuses) == {200}, load.statuses
        assert load.labels <= {"shifty/1", "shifty/2"}, "a refused version has answered"
        events = [(e["event"], e["version"]) for e in history(one)]
        assert events == [
            ("serving", "shifty/1"),
            ("failed", "shifty/3"),
            ("refused", "shifty/4"),
            ("refused", "shifty/5"),
            ("serving", "shifty/2"),
            ("serving", "shifty/1"),
            ("rolled back", "shifty/1"),
            ("serving", "shifty/2"),
        ]
        shown = subprocess.run(
            [HEADRACE, "history", "shifty", "--admin", one.admin], capture_output=True, text=True, check=True
        ).stdout
        assert "a test" in shown


def test_a_version_that_answers_golden_requests_wrongly_is_refused(moves: Registry, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text(json.dumps({"request": TEXT, "expected": {"predictions": ["v1"]}}), encoding="utf-8")
    moves.point("shifty", "golden", "1")
    with serving(tmp_path, config(moves.uri, "golden", checks={"file": str(golden)})) as one:
        url = f"{one.url('shifty')}/invocations"
        moves.point("shifty", "golden", "6")
        failed = one.event("FAILED", version="shifty/6")
        assert "golden request 1" in failed["reason"]
        assert '{"predictions": ["v1"]}' in failed["reason"]
        assert label(url) == "shifty/1"


@pytest.mark.parametrize(
    ("version", "why"), [(7, "answers were errors"), pytest.param(8, "median latency", marks=pytest.mark.slow)]
)
def test_a_version_that_turns_bad_after_the_flip_is_sent_back(
    moves: Registry, tmp_path: Path, version: int, why: str
) -> None:
    alias = f"bake{version}"
    moves.point("shifty", alias, "1")
    rollout = {"bake_s": 30, "min_requests": 20}
    with serving(tmp_path, config(moves.uri, alias, rollout=rollout)) as one:
        url = f"{one.url('shifty')}/invocations"
        with Load(url, TEXT) as load:
            load.more(200)
            moves.point("shifty", alias, str(version))
            back = one.event("rolled back", version=f"shifty/{version}")
            assert why in back["reason"]
            until(lambda: label(url) == "shifty/1", "version 1 again")
            load.more(100)
            assert label(url) == "shifty/1"
        status = one.status("shifty")
        assert why in status["bad"][0]["reason"]
        assert status["held"] is True
        assert one.stop() == 0
    # What is bad stays bad over a restart, until the registry changes.
    with serving(tmp_path, config(moves.uri, alias, rollout=rollout)) as one:
        url = f"{one.url('shifty')}/invocations"
        assert label(url) == "shifty/1"
        moves.point("shifty", alias, "2")
        until(lambda: label(url) == "shifty/2", "version 2")


@pytest.mark.slow  # test_good_bad_and_good_again and the unit tests of rollouts have the rules
def test_what_turns_bad_gives_way_to_what_the_registry_points_at_by_then(moves: Registry, tmp_path: Path) -> None:
    """The repaired version is on its way when the bad one is found out: it takes over, and nothing is held."""
    moves.point("shifty", "repaired", "1")
    with serving(tmp_path, config(moves.uri, "repaired", rollout={"bake_s": 60, "min_requests": 20})) as one:
        url = f"{one.url('shifty')}/invocations"
        with Load(url, TEXT, clients=1) as load:
            moves.point("shifty", "repaired", "7")
            until(lambda: label(url) == "shifty/7", "the bad version")
            moves.point("shifty", "repaired", "2")
            until(lambda: label(url) == "shifty/2", "the repaired one")
            load.more()
            assert not one.status("shifty")["held"]
            assert label(url) == "shifty/2"


def command(one: Serving, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADRACE, *arguments, "--admin", one.admin], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.slow  # test_good_bad_and_good_again has a rollback; the unit tests of orders and of memory have the rest
def test_an_operator_goes_back_and_follows_anew(moves: Registry, tmp_path: Path) -> None:
    """A second rollback never goes to what was sent back; what was sent back stays out until it is asked for."""
    moves.point("shifty", "operated", "1")
    with serving(tmp_path, config(moves.uri, "operated", checks={"signature": "warn"})) as one:
        one.url("shifty")
        moves.point("shifty", "operated", "5")
        one.event("serving", version="shifty/5")
        assert one.stop() == 0
    # After a restart the version before is brought up again: it may go back to a signature of its own.
    with serving(tmp_path, config(moves.uri, "operated")) as one:
        url = f"{one.url('shifty')}/invocations"
        done = command(one, "rollback", "shifty")
        assert (done.returncode, done.stdout) == (0, "shifty: shifty/1 is brought up again and will take over\n")
        until(lambda: label(url) == "shifty/1", "version 1")
        again = command(one, "rollback", "shifty")
        assert again.returncode == 2
        assert "'headrace refresh shifty --anew' follows the registry again" in again.stderr
        assert command(one, "refresh", "shifty").returncode == 0
        assert one.status("shifty")["held"]
        assert label(url) == "shifty/1"
        unknown = command(one, "rollback", "a/b ?c")
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert "there are: shifty" in command(one, "history", "nobody").stderr
        assert one.stop() == 0
    with serving(tmp_path, config(moves.uri, "operated", checks={"signature": "warn"})) as one:
        url = f"{one.url('shifty')}/invocations"
        assert label(url) == "shifty/1", "a rollback holds over a restart"
        assert command(one, "refresh", "shifty", "--anew").returncode == 0
        one.event("serving", version="shifty/5")
        assert not one.status("shifty")["held"]


@pytest.mark.slow  # the unit tests of checks compare with what is remembered, those of history with what is read
def test_a_signature_is_compared_with_what_served_before_a_restart(moves: Registry, tmp_path: Path) -> None:
    """The alias moves while headrace is down: its clients are still those of the version that served."""
    moves.point("shifty", "unseen", "1")
    with serving(tmp_path, config(moves.uri, "unseen")) as one:
        one.url("shifty")
        assert one.stop() == 0
    moves.point("shifty", "unseen", "5")
    with serving(tmp_path, config(moves.uri, "unseen")) as one:
        failed = one.event("FAILED", version="shifty/5")
        assert "the input 'text' was string and is long" in failed["reason"]
        assert "'checks: {signature: warn}'" in failed["reason"]
        url = f"{one.url('shifty')}/invocations"
        until(lambda: label(url) == "shifty/1", "the version before")
        assert one.stop() == 0
    with serving(tmp_path, config(moves.uri, "unseen", checks={"signature": "warn"})) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: label(url) == "shifty/5", "the version that is allowed now")


@pytest.mark.slow  # another test here has one that is refused; the unit tests of rollouts have the next start
def test_a_version_that_was_refused_serves_when_the_checks_were_wrong(moves: Registry, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text(json.dumps({"request": TEXT, "expected": {"predictions": ["v2"]}}), encoding="utf-8")
    moves.point("shifty", "corrected", "1")
    document = config(moves.uri, "corrected", checks={"file": str(golden)})
    with serving(tmp_path, document) as one:
        assert "golden request 1" in one.event("FAILED", version="shifty/1")["reason"]
        assert one.stop() == 0
    golden.write_text(json.dumps({"request": TEXT, "expected": {"predictions": ["v1"]}}), encoding="utf-8")
    with serving(tmp_path, document) as one:
        assert label(f"{one.url('shifty')}/invocations") == "shifty/1"


@pytest.mark.slow  # test_registries.py has MLflow's own webhook, and the unit tests what is no webhook of it
def test_a_webhook_is_faster_than_any_poll(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "hooked", "1")
    document = config(moves.uri, "hooked")
    document["registry"] |= {"poll_s": 3600, "webhook_secret": "s3cret"}
    with serving(tmp_path, document) as one:
        url = f"{one.url('shifty')}/invocations"
        assert label(url) == "shifty/1"
        moves.point("shifty", "hooked", "2")
        body = json.dumps({"entity": "model_version_alias", "action": "created", "data": {"name": "shifty"}})
        stamp = str(int(time.time()))
        digest = hmac.new(b"s3cret", f"d1.{stamp}.{body}".encode(), hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json",
            "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
            "X-MLflow-Delivery-Id": "d1",
            "X-MLflow-Timestamp": stamp,
        }
        hook = f"{one.admin}/hooks/mlflow"
        assert ask(hook, json.loads(body), headers={**headers, "X-MLflow-Signature": "v1,AAAA"}).status == 401
        assert ask(hook, json.loads(body), headers=headers).json == {"refreshing": ["shifty"]}
        assert ask(hook, json.loads(body), headers=headers).status == 401, "the same delivery again"
        until(lambda: label(url) == "shifty/2", "version 2")


def test_a_restart_with_the_registry_away_serves_from_the_cache(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "cached", "1")
    database = Path(moves.uri.removeprefix("sqlite:///"))
    document = config(moves.uri, "cached")
    document["registry"]["timeout_s"] = 3
    with serving(tmp_path, document) as one:
        assert label(f"{one.url('shifty')}/invocations") == "shifty/1"
        assert one.stop() == 0
    away = database.with_suffix(".away")
    database.rename(away)
    database.mkdir()  # neither a database nor absent: MLflow cannot open it
    try:
        with serving(tmp_path, document) as one:
            assert label(f"{one.url('shifty')}/invocations") == "shifty/1"
            assert one.status("shifty")["registry_problem"]
            database.rmdir()
            away.rename(database)
            moves.point("shifty", "cached", "2")
            until(lambda: label(f"{one.url('shifty')}/invocations") == "shifty/2", "the registry to be followed again")
    finally:
        if away.exists():
            database.rmdir()
            away.rename(database)


@pytest.mark.slow  # the tests of damaged caches have that, and more
def test_a_damaged_copy_is_fetched_again(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "damaged", "1")
    document = config(moves.uri, "damaged")
    with serving(tmp_path, document) as one:
        assert label(f"{one.url('shifty')}/invocations") == "shifty/1"
        assert one.stop() == 0
    (copy,) = (tmp_path / "home/models").glob("*/MLmodel")
    copy.write_text("garbage", encoding="utf-8")
    with serving(tmp_path, document) as one:
        assert label(f"{one.url('shifty')}/invocations") == "shifty/1"
        assert copy.read_text(encoding="utf-8") != "garbage"


@pytest.mark.slow
def test_an_alias_that_moves_twice_during_a_bring_up(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "twice", "1")
    document = config(moves.uri, "twice")
    document["environments"] = {"share_imports": False}  # so that it takes a while
    with serving(tmp_path, document) as one:
        url = f"{one.url('shifty')}/invocations"
        with Load(url, TEXT) as load:
            load.more()
            moves.point("shifty", "twice", "6")
            one.event("bringing up", version="shifty/6")
            moves.point("shifty", "twice", "2")
            until(lambda: label(url) == "shifty/2", "the last one to win")
            load.more()
        assert set(load.statuses) == {200}
        assert "shifty/6" not in load.labels
        until(lambda: len(one.processes("shifty/6")) == 0, "the abandoned version's processes to be gone")


def test_a_version_takes_over_in_steps_and_one_that_does_badly_gives_its_share_back(
    moves: Registry, tmp_path: Path
) -> None:
    moves.point("shifty", "steps", "1")
    rollout = {"steps": [30, 100], "bake_s": 4.0, "min_requests": 20}
    with serving(tmp_path, config(moves.uri, "steps", rollout=rollout)) as one:
        url = f"{one.url('shifty')}/invocations"
        with Load(url, TEXT) as load:
            load.more()
            moves.point("shifty", "steps", "2")
            one.event("step", version="shifty/2", percent=30)
            until(lambda: one.status("shifty")["current"]["label"] == "shifty/2", "the flip")
            load.more()
        assert set(load.statuses) == {200}
        assert load.labels == {"shifty/1", "shifty/2"}
        with Load(url, TEXT) as load:
            moves.point("shifty", "steps", "7")  # ten good answers, then errors
            until(lambda: history(one)[-1]["event"] == "withdrawn", "its end")
        assert history(one)[-1]["reason"].startswith("with 30 % of the traffic, ")
        assert label(url) == "shifty/2"
        shares = [(entry["event"], entry["version"]) for entry in history(one)]
        assert shares == [
            ("serving", "shifty/1"),
            ("step", "shifty/2"),
            ("serving", "shifty/2"),
            ("step", "shifty/7"),
            ("withdrawn", "shifty/7"),
        ]
