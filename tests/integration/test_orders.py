"""What operators ask of a running headrace, by the command line: scale, pause, promote, roll back to a version."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import HEADRACE, ask, serving, until

TEXT = {"dataframe_records": [{"text": "a text"}]}


def test_scale_pause_promote_and_roll_back(moves: Registry, tmp_path: Path) -> None:
    moves.point("shifty", "orders", "1")
    model = {"uri": "models:/shifty@orders", "port": 0, "environment": "local", "rollout": {"bake_s": 0}}
    document = {
        "registry": {"tracking_uri": moves.uri, "poll_s": 3600}, "admin": {"port": 0}, "models": {"shifty": model},
    }  # fmt: skip
    with serving(tmp_path, document) as one:
        url = f"{one.url('shifty')}/invocations"

        def headrace(*arguments: str, code: int = 0) -> str:
            done = subprocess.run(
                [HEADRACE, *arguments, "--admin", one.admin],
                capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == code, (done.stdout, done.stderr)
            return done.stdout if code == 0 else done.stderr

        def replicas() -> int:
            return len(one.processes("role=replica"))

        def serves(version: str) -> bool:
            return ask(url, TEXT).headers.get("headrace-model") == f"shifty/{version}"

        with Load(url, TEXT) as load:
            load.more()
            assert "3 replicas (there were 1)" in headrace("scale", "shifty", "3")
            until(lambda: one.status("shifty")["replicas"]["ready"] == 3, "three replicas")
            assert replicas() == 3
            assert "scaled from 1 to 3 until a restart" in headrace("status")
            load.more()
            headrace("scale", "shifty", "1")
            until(lambda: replicas() == 1, "the others to leave")
            load.more()
        assert set(load.statuses) == {200}
        assert not [event for event in one.events if event["event"] in {"worker lost", "worker killed"}]

        headrace("pause", "shifty", "--reason", "the sale")
        moves.point("shifty", "orders", "2")
        headrace("refresh", "shifty")
        assert "paused" in headrace("status")
        assert "'headrace resume shifty'" in headrace("rollback", "shifty", code=2)
        assert serves("1")
        headrace("resume", "shifty")
        until(lambda: serves("2"), "the version that the registry has pointed at meanwhile")

        assert "--yes" in headrace("promote", "shifty", "1", code=2)
        assert "has no version '99'" in headrace("promote", "shifty", "99", "--yes", code=2)
        assert "(it was 2)" in headrace("promote", "shifty", "1", "--yes")
        until(lambda: serves("1"), "what was promoted")
        assert "there are: shifty/2" in headrace("rollback", "shifty", "--to", "7", code=2)
        headrace("rollback", "shifty", "--to", "2")
        until(lambda: serves("2"), "the version that was named")
        told = headrace("history", "shifty")
        assert "the sale" in told
        assert "resumed" in told
