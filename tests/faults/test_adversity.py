"""Whatever happens, in any order and at once: what serves goes on, and in the end what the registry says serves.

The steps are random and the processes real, so a failure does not repeat itself by its seed alone: the steps that led
to it are in its message, with the time of each.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.moving import Registry
from tests.integration.serving import Serving, ask, serving, until
from tests.integration.swarm import Swarm
from tests.processes import alive

TEXT = {"dataframe_records": [{"text": "a text"}]}
# Versions of `shifty`: what serves as well as any, and what cannot load, fails its example, has another signature.
GOOD, BAD = ("1", "2", "6"), ("3", "4", "5")
STEPS = 60
_PATIENCE_S = 240.0


class Adversity:
    """Takes random steps against one headrace; `taken` are those it took."""

    def __init__(self, one: Serving, registry: Registry, home: Path, seed: int) -> None:
        self.taken: list[str] = []
        self._one = one
        self._registry = registry
        self._home = home
        self._names = f"main{seed}", f"trial{seed}"
        self._random = random.Random(seed)
        self._began_s = time.monotonic()
        self._steps: list[Callable[[], str]] = [
            *[self._move, self._move_twice, self._move_canary] * 3,
            self._roll_back,
            self._refresh,
            self._kill,
            self._kill,
            self._damage,
        ]

    def step(self) -> None:
        """Take one, and wait for a moment or not at all."""
        done = self._random.choice(self._steps)()
        self.taken.append(f"{time.monotonic() - self._began_s:.2f} s: {done}")
        time.sleep(self._random.choice((0.0, 0.2, 1.0, 2.0)))

    def _move(self) -> str:
        version = self._random.choice(GOOD + BAD)
        self._registry.point("shifty", self._names[0], version)
        return f"main -> {version}"

    def _move_twice(self) -> str:
        return f"{self._move()}, {self._move()}"

    def _move_canary(self) -> str:
        version = self._random.choice((*GOOD, *BAD, "-"))
        self._registry.point("shifty", self._names[1], version)
        return f"canary -> {version}"

    def _roll_back(self) -> str:
        answer = ask(f"{self._one.admin}/api/models/shifty/rollback", {})
        assert answer.status in {200, 409}, answer
        return f"rollback: {answer.status}"

    def _refresh(self) -> str:
        anew = self._random.choice(("", "?anew=true"))
        assert ask(f"{self._one.admin}/api/models/shifty/refresh{anew}", {}).status == 202
        return f"refresh {anew}"

    def _kill(self) -> str:
        role = self._random.choice(("headrace.registry", "role=host", "role=replica"))
        found = self._one.processes(role)
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(found).pid, signal.SIGKILL)
            # A request is given to another worker once: no two may die on it.
            until(lambda: self._one.status("shifty")["replicas"]["ready"] == 2, "both replicas", _PATIENCE_S)
        return f"killed {role} of {len(found)}"

    def _damage(self) -> str:
        copies = sorted(self._home.glob("models/*/MLmodel"))
        copy = self._random.choice(copies)
        copy.write_text("garbage", encoding="utf-8")
        return f"damaged {copy.parent.name}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(1, 6))
def test_adversity(registry: str, moves: Registry, tmp_path: Path, seed: int) -> None:
    main, trial = f"main{seed}", f"trial{seed}"
    model = {
        "uri": f"models:/shifty@{main}",
        "port": 0,
        "environment": "local",
        "replicas": 2,
        "traffic": {main: 80, trial: 20},
        "rollout": {"bake_s": 5, "retry_s": 1, "keep_old_s": 10},
    }
    config = {"registry": {"tracking_uri": registry, "poll_s": 0.5}, "admin": {"port": 0}, "models": {"shifty": model}}
    moves.point("shifty", main, "1")
    with serving(tmp_path, config) as one:
        url = f"{one.url('shifty')}/invocations"
        until(lambda: one.status("shifty")["replicas"]["ready"] == 2, "both replicas")
        adversity = Adversity(one, moves, tmp_path / "home", seed)
        with Swarm(url, TEXT, clients=16, pause_s=0.02) as swarm:
            swarm.more()
            for _ in range(STEPS):
                adversity.step()
                assert not swarm.failed, adversity.taken
            swarm.more()
            # Peace: the registry points at a good version, and nothing is held against it.
            moves.point("shifty", main, "2")
            moves.point("shifty", trial, "-")
            assert ask(f"{one.admin}/api/models/shifty/refresh?anew=true", {}).status == 202
            try:
                until(lambda: not unrest(one, trial), "peace", _PATIENCE_S)
            except AssertionError:
                pytest.fail(f"no peace: {unrest(one, trial)} after {adversity.taken}")
            swarm.expect("shifty/2")
            swarm.more()
        assert not swarm.failed, adversity.taken
        assert not swarm.wrong, adversity.taken
        assert swarm.labels <= {f"shifty/{version}" for version in GOOD}, adversity.taken
        agree(one)
        assert one.stop() == 0


def unrest(one: Serving, trial: str) -> dict[str, Any]:
    """What is not as it should be in the end."""
    status, everything = one.status("shifty"), ask(f"{one.admin}/api/models").json
    side = status["sides"][trial]
    found = {
        "current": status["current"] and status["current"]["label"],
        "candidate": status["candidate"],
        "warm": status["warm"],
        "replicas": status["replicas"]["ready"],
        "side": side["current"] or side["candidate"] or side["warm"],
        "missing": bool(side["missing"]),
        "in_force": everything["gateways"]["in_force"],
        "hosts": len(one.processes("role=host")),
    }
    wanted = {"current": "shifty/2", "candidate": None, "warm": None, "replicas": 2, "side": None, "missing": True}
    wanted |= {"in_force": True, "hosts": 1}
    return {name: value for name, value in found.items() if value != wanted[name]}


def agree(one: Serving) -> None:
    """Status, history, metrics and processes tell the same."""
    entries = ask(f"{one.admin}/api/models/shifty/history").json
    last = [e for e in entries if e["event"] == "serving" and "alias" not in e][-1]
    assert last["version"] == "shifty/2"
    metrics = ask(f"{one.admin}/metrics").body.decode()
    info = [line for line in metrics.splitlines() if line.startswith("headrace_version_info{")]
    assert len(info) == 1
    assert 'version="shifty/2"' in info[0]
    rollbacks = next(line for line in metrics.splitlines() if line.startswith("headrace_rollbacks_total{"))
    assert float(rollbacks.split()[-1]) == len([e for e in entries if e["event"] in {"rolled back", "withdrawn"}])
    workers = alive(one.processes("headrace_worker"))
    assert len(workers) == 3, "a host and its replicas"
