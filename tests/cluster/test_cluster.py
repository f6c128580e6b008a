"""headrace on a real Ray of three nodes on loopback addresses, in an environment of its own, which has Ray.

It takes minutes: it is a nightly judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.moving import Registry
from tests.integration.serving import ask, until
from tests.processes import tied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
NODES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
PATIENCE_S = 400.0
PORT = 5093


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with this headrace and Ray."""
    told = os.environ.get("HEADRACE_RAY_PYTHON")
    if told:
        return Path(told)
    made = tmp_path_factory.mktemp("ray") / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = ["--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[full,ray]"]
    for command in (
        ["venv", "--python", sys.executable, str(made.parents[1])],
        ["pip", "install", "--python", str(made), *install],
    ):
        subprocess.run([str(uv), "--quiet", *command], check=True, timeout=900)
    return made


class Cluster:
    """Ray's nodes, and the commands of headrace there."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._python = python
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "examples"), "HEADRACE_HOME": str(directory / "home")}
        self._environ = environ
        self.process = subprocess.Popen(
            tied([str(python), "-m", "news.nodes", str(len(NODES))]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.address = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the nodes have ended"
        return line

    def order(self, text: str) -> None:
        """Have the nodes do something: see `news.nodes`."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        assert self._line() == "done"

    def headrace(self, *arguments: str, code: int = 0) -> str:
        """Run a command; returns all that it printed."""
        done = subprocess.run(
            [self._python, "-m", "headrace", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env=self._environ,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        """The state of each node by its address."""
        told = json.loads(self.headrace("cluster", "status", "--json", "--address", self.address))
        return {one["address"]: one["state"] for one in told["nodes"]}

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(120)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(python, tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


class Load:
    """Asks a node again and again on new connections, until it is closed; counts what failed."""

    def __init__(self, address: str) -> None:
        self.failed: list[str] = []
        self.answered = 0
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                answer = predict(self._address)
            except OSError as error:
                self.failed.append(repr(error))
            else:
                self.answered += 1
                if "predictions" not in answer:
                    self.failed.append(str(answer))
            time.sleep(0.01)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def predict(address: str) -> Any:
    return ask(f"http://{address}:{PORT}/invocations", {"inputs": ["a good day"]}).json


def test_the_life_of_a_cluster(cluster: Cluster, registry: str, moves: Registry, tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"

    def write(**others: Any) -> None:
        model = {"uri": "models:/mood@production", "port": PORT, **others}
        told = {"cluster": {"engine": "ray", "address": cluster.address}, "home": str(tmp_path / "home")}
        file.write_text(
            json.dumps({**told, "registry": {"tracking_uri": registry, "poll_s": 1}, "models": {"mood": model}})
        )

    write()
    assert "no headrace serves" in cluster.headrace("cluster", "status", "--address", cluster.address, code=2)
    told = cluster.headrace("serve", "--config", str(file))
    assert told.count("serving: 1 of 1 models can answer") == len(NODES)
    assert cluster.states() == dict.fromkeys(NODES, "serving")
    first = predict(NODES[0])
    assert [predict(address) for address in NODES] == [first] * len(NODES)

    # A change of the file reaches every node; what cannot be changed changes nothing.
    write(timeout_s=33)
    assert cluster.headrace("serve", "--config", str(file)).count("serving") == len(NODES)
    write(prediction_log={"path": "log"})
    assert "models.mood.prediction_log: cannot change" in cluster.headrace("serve", "--config", str(file), code=2)
    write(timeout_s=33)

    load = Load(NODES[0])
    try:
        # A node is emptied, and serves again.
        cluster.headrace("cluster", "drain", NODES[2], "--address", cluster.address)
        assert cluster.states()[NODES[2]] == "drained"
        with pytest.raises(OSError, match="refused"):
            predict(NODES[2])
        cluster.headrace("cluster", "drain", NODES[2], "--undo", "--address", cluster.address)
        assert predict(NODES[2]) == first
        assert "no node has the address" in cluster.headrace(
            "cluster", "drain", "10.9.9.9", "--address", cluster.address, code=2
        )

        # A node is lost, and another comes.
        cluster.order(f"lose {NODES[1]}")
        until(lambda: NODES[1] not in cluster.states(), "the loss of a node", PATIENCE_S)
        cluster.order(f"add {NODES[1]}")
        until(lambda: cluster.states().get(NODES[1]) == "serving", "the node that came", PATIENCE_S)
        assert predict(NODES[1]) == first

        # The controller is killed: nodes serve on, and the next one knows what is wanted.
        before = json.loads(cluster.headrace("cluster", "status", "--json", "--address", cluster.address))
        os.kill(before["pid"], 9)
        after = json.loads(cluster.headrace("cluster", "status", "--json", "--address", cluster.address))
        assert after["pid"] != before["pid"]
        assert after["generation"] == before["generation"]
        until(lambda: cluster.states() == dict.fromkeys(NODES, "serving"), "the next controller", PATIENCE_S)
        now = json.loads(cluster.headrace("cluster", "status", "--json", "--address", cluster.address))["nodes"]
        assert [one["pid"] for one in now] == [one["pid"] for one in before["nodes"]], "a node's headrace was replaced"
    finally:
        load.close()
    assert load.answered
    assert load.failed == []

    # Each node follows the registry by itself.
    moves.point("mood", "production", "2")
    until(lambda: all(predict(address) != first for address in NODES), "version 2", PATIENCE_S)

    assert "ended on 3 nodes" in cluster.headrace("cluster", "down", "--address", cluster.address)
    with pytest.raises(OSError, match="refused"):
        predict(NODES[0])


def test_no_ray_is_there(cluster: Cluster) -> None:
    told = cluster.headrace("cluster", "status", "--address", "127.0.0.2:9", code=2)
    assert "no Ray answers at 127.0.0.2:9" in told
    assert "Traceback" not in told
