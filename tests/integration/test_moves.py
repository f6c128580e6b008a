"""The registry's aliases move again and again under constant load: no request fails, none meets the wrong version."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mlflow_server import MlflowServer
from tests.integration.moving import Registry
from tests.integration.serving import Serving, ask, serving, until
from tests.integration.swarm import Swarm

TEXT = {"inputs": ["good great happy"]}
# For one move: a load beside 64 clients can take a minute where others work as well.
_PATIENCE_S = 240.0


def config(uri: str, alias: str, **more: Any) -> dict[str, Any]:
    model = {"uri": f"models:/pair@{alias}", "port": 0, "environment": "local", **more}
    return {"registry": {"tracking_uri": uri, "poll_s": 0.5}, "admin": {"port": 0}, "models": {"pair": model}}


def in_force(one: Serving, label: str) -> bool:
    """Whether every gateway sends every new request to this version."""
    status = ask(f"{one.admin}/api/models").json
    (model,) = status["models"]
    return bool(status["gateways"]["in_force"] and model["current"] and model["current"]["label"] == label)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(5, marks=pytest.mark.timeout(600)),
        pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
    ids=["short", "long"],
)
def test_moves_under_load(served: Registry, tmp_path: Path, count: int) -> None:
    # 1 -> 2 -> 3: brought up anew each time; -> 2 -> 3: still warm. Both ways of taking over, in turn.
    versions = [("1", "2", "3", "2", "3")[number % 5] for number in range(1, count + 1)]
    served.point("pair", "moving", "1")
    # Not watched after a flip: the load leaves latencies to chance, and a rollback would be right but not the subject.
    with serving(tmp_path, config(served.uri, "moving", rollout={"bake_s": 0})) as one:
        url = f"{one.url('pair')}/invocations"
        with Swarm(url, TEXT, pause_s=0.02) as swarm:
            swarm.more()
            for version in versions:
                swarm.expect(None)
                served.point("pair", "moving", version)
                until(lambda: in_force(one, f"pair/{version}"), version, _PATIENCE_S)  # noqa: B023 - called at once
                swarm.expect(f"pair/{version}")
                swarm.more()
                # Memory: what serves and one other.
                assert len(one.processes("role=host")) <= 2
        assert not swarm.failed
        assert not swarm.wrong
        assert swarm.labels == {"pair/1", "pair/2", "pair/3"}
        flips = [e["version"] for e in one.events if e["event"] == "serving"]
        assert flips == ["pair/1", *(f"pair/{v}" for v in versions)]


@pytest.mark.timeout(600)
def test_kills_amid_moves(server: MlflowServer, served: Registry, tmp_path: Path) -> None:
    """The registry agent, `mlflow server` and workers are killed in the middle of moves: no request fails."""
    served.point("pair", "shot", "1")
    document = config(served.uri, "shot", replicas=2, rollout={"bake_s": 0})
    document["registry"]["timeout_s"] = 3
    with serving(tmp_path, document) as one:
        url = f"{one.url('pair')}/invocations"
        until(lambda: one.status("pair")["replicas"]["ready"] == 2, "both replicas")
        with Swarm(url, TEXT, pause_s=0.02) as swarm:
            swarm.more()
            for version, role in (
                ("2", "headrace.registry"),
                ("1", "role=replica"),
                ("3", "role=host"),
                ("2", "mlflow"),
            ):
                seen = len(one.events)
                swarm.expect(None)
                served.point("pair", "shot", version)
                if role == "headrace.registry":
                    os.kill(one.processes(role)[0].pid, signal.SIGKILL)
                elif role == "mlflow":
                    server.kill()
                    swarm.more()
                    server.start()
                elif f"pair/{version}" != one.status("pair")["warm"]["label"]:
                    one.event("bringing up", after=seen, version=f"pair/{version}")
                    os.kill(one.processes(role)[0].pid, signal.SIGKILL)
                else:
                    os.kill(one.processes(role)[0].pid, signal.SIGKILL)
                until(lambda: in_force(one, f"pair/{version}"), version, _PATIENCE_S)  # noqa: B023 - called at once
                swarm.expect(f"pair/{version}")
                swarm.more()
        assert not swarm.failed
        assert not swarm.wrong
