"""Replicas that follow the load: more while requests wait, fewer when nothing does, and what operators say above it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import Serving, ask, serving, until

TEXT = {"instances": ["sleep:0.1"]}


def document(registry: str, **model: Any) -> dict[str, Any]:
    settings = {
        "uri": "models:/moody/1",
        "port": 0,
        "environment": "local",
        "target_wait_ms": 30,
        "concurrency": 1,
        **model,
    }
    return {
        "registry": {"tracking_uri": registry},
        "admin": {"port": 0},
        "gateway": {"processes": 2},
        "models": {"moody": settings},
    }


def replicas(one: Serving) -> dict[str, Any]:
    told: dict[str, Any] = one.status("moody")["replicas"]
    return told


def test_replicas_come_with_the_load_and_go_after_it(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, document(registry, replicas={"min": 1, "max": 3}, idle_s=2, batch={"max_rows": 1})) as one:
        url = f"{one.url('moody')}/invocations"
        assert replicas(one)["wanted"] == 1
        with Load(url, TEXT, clients=12, pause_s=0.0) as load:
            until(lambda: replicas(one)["ready"] == 3, "as many replicas as there may be")
            assert "30 ms are wanted" in replicas(one)["why"]
            assert 'headrace_workers_wanted{model="moody"} 3.0' in ask(f"{one.admin}/metrics").body.decode()
            load.more()
        until(lambda: replicas(one)["wanted"] == 1, "the replicas to go")
        until(lambda: len(one.processes("role=replica")) == 1, "their processes to end")
        assert set(load.statuses) == {200}
        assert "no more were needed for 2 s" in replicas(one)["why"]

        scaled = ask(f"{one.admin}/api/models/moody/scale?replicas=2", method="POST").json["message"]
        assert scaled.startswith("2 replicas (there were 1); a restart goes back to 1 to 3")
        assert "'headrace scale moody auto' follows the load again" in scaled
        until(lambda: replicas(one)["ready"] == 2, "what was ordered")
        assert (replicas(one)["ordered"], replicas(one)["why"]) == (2, None)
        ask(f"{one.admin}/api/models/moody/scale?replicas=auto", method="POST")
        until(lambda: replicas(one)["wanted"] == 1, "the load to be followed again")
        assert not [event for event in one.events if event["event"] in {"worker lost", "worker killed"}]


def test_a_model_that_nobody_asks_sleeps_and_is_woken_once_for_all_who_ask(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "sleeper", "1")
    settings = {
        "uri": "models:/shifty@sleeper",
        "replicas": {"min": 0, "max": 2},
        "idle_s": 1,
        "rollout": {"bake_s": 0},
    }
    told = document(moves.uri)
    told["registry"]["poll_s"] = 3600
    told["models"] = {"shifty": {**settings, "port": 0, "environment": "local", "timeout_s": 100}}
    with serving(tmp_path, told) as one:
        url, text = one.url("shifty"), {"dataframe_records": [{"text": "a text"}]}

        def sleeps() -> bool:
            return bool(one.status("shifty")["state"] == "ASLEEP" and not one.processes("role=replica"))

        def woken() -> int:
            return sum(event["event"] == "follows the load" and event["was"] == 0 for event in one.events)

        def at_once(count: int) -> list[int]:
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(lambda _: ask(f"{url}/invocations", text).status, range(count)))

        until(sleeps, "it to sleep")
        assert ask(f"{url}/ping").status == ask(f"{one.admin}/readyz").status == 200
        assert 'headrace_model_asleep{model="shifty"} 1.0' in ask(f"{one.admin}/metrics").body.decode()
        assert (one.status("shifty")["ready"], woken()) == (True, 0)
        assert at_once(200) == [200] * 200
        assert woken() == 1

        until(sleeps, "it to sleep again")
        (host,) = one.processes("role=host")
        host.kill()
        assert at_once(5) == [200] * 5
        assert woken() == 2

        until(sleeps, "it to sleep once more")
        (host,) = until(lambda: one.processes("role=host"), "a host")
        host.suspend()
        limited = ask(
            f"{url}/invocations", text, headers={"Content-Type": "application/json", "Request-Timeout-Ms": "200"}
        )
        assert limited.status == 504, "it waits for no longer than its client"
        host.resume()

        until(sleeps, "it to sleep for the next version")
        moves.point("shifty", "sleeper", "2")
        ask(f"{one.admin}/api/models/shifty/refresh", method="POST")
        until(lambda: one.status("shifty")["current"]["label"] == "shifty/2", "the new version")
        until(sleeps, "the new version to sleep")
        assert ask(f"{url}/invocations", text).headers["headrace-model"] == "shifty/2"
        assert not [event for event in one.events if event["event"] in {"worker killed", "FAILED"}]
