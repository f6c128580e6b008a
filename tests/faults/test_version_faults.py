"""What serves is never given up, whatever goes wrong around it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import ask, serving, until

TEXT = {"dataframe_records": [{"text": "a text"}]}


def config(registry: str, alias: str, **more: Any) -> dict[str, Any]:
    model = {"uri": f"models:/shifty@{alias}", "port": 0, "environment": "local", **more}
    return {"registry": {"tracking_uri": registry, "poll_s": 0.5}, "admin": {"port": 0}, "models": {"shifty": model}}


def test_a_host_that_cannot_be_started_does_not_cost_the_replicas_that_serve(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "hostless", "1")
    with serving(tmp_path, config(moves.uri, "hostless", replicas=2)) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: one.status("shifty")["replicas"]["ready"] == 2, "both replicas")
        with Load(url, TEXT) as load:
            load.more()
            supervisor = psutil.Process(one.supervisor)
            before = supervisor.rlimit(resource.RLIMIT_NOFILE)
            supervisor.rlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # no further file: no process can be started
            os.kill(one.processes("role=host")[0].pid, signal.SIGKILL)
            one.event("worker not started")
            load.more()
            supervisor.rlimit(resource.RLIMIT_NOFILE, before)
            until(lambda: one.processes("role=host"), "a new host")
            load.more()
        assert set(load.statuses) == {200}, load.statuses
        assert len(one.processes("role=replica")) == 2


def test_a_copy_that_is_damaged_while_it_serves_is_not_loaded_again(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "spoiled", "1")
    with serving(tmp_path, config(moves.uri, "spoiled")) as one:
        url = f"{one.url('shifty')}/invocations"
        (copy,) = (tmp_path / "home/models").glob("*/MLmodel")
        whole = copy.read_bytes()
        with Load(url, TEXT) as load:
            load.more()
            copy.write_text("garbage", encoding="utf-8")
            os.kill(one.processes("role=host")[0].pid, signal.SIGKILL)
            one.event("artifacts damaged")
            until(lambda: one.processes("role=host"), "a new host")
            until(lambda: len([e for e in one.events if e["event"] == "model loaded"]) == 2, "its load")
            load.more()
        assert copy.read_bytes() == whole, "fetched again"
        assert set(load.statuses) == {200}, load.statuses


@pytest.mark.slow
def test_a_restart_after_the_alias_was_deleted_serves_what_served(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "deleted", "1")
    with serving(tmp_path, config(moves.uri, "deleted")) as one:
        assert ask(f"{one.url('shifty')}/invocations", TEXT).headers["headrace-model"] == "shifty/1"
        assert one.stop() == 0
    moves.point("shifty", "deleted", "-")
    with serving(tmp_path, config(moves.uri, "deleted")) as one:
        assert ask(f"{one.url('shifty')}/invocations", TEXT).headers["headrace-model"] == "shifty/1"
        until(
            lambda: "no alias 'deleted'" in (one.status("shifty")["registry_problem"] or ""), "the problem to be told"
        )
