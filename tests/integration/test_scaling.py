"""Replicas that follow the load: more while requests wait, fewer when nothing does, and what operators say above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.load import Load
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
