"""Names that a registry takes and a terminal would obey: shown, and never obeyed, wherever they come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.core.escaping import header_value, printable
from tests.integration.serving import HEADRACE, PATIENCE_S, ask, until

CURSOR = "a\x1b[2J\x1b]0;title\x07b\nc\x00\x7f"
WRITING = "\u202eexe\x9b31m[red]x[bold] \xa0"
LOUD = "loud\r\x85"
EXACT, FOLDED = "pair", "$(pair)\x1b"
MAKE = """
import json, sys
from pathlib import Path
import mlflow
from mlflow import MlflowClient
names, here, directory = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
mlflow.create_experiment("tests", artifact_location=(directory / "artifacts").as_uri())
mlflow.set_experiment("tests")
client = MlflowClient()
for script, registered in names.items():
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(python_model=str(here / script), name="model", pip_requirements=["mlflow"])
    for name in registered:
        client.create_registered_model(name)
        client.create_model_version(name, info.model_uri, model_id=info.model_id)
        client.set_registered_model_alias(name, "production", "1")
"""


class Shown:
    """A `headrace serve` for people: `log` and `screen` are files that it writes."""

    def __init__(self, directory: Path, registry: str) -> None:
        file = directory / "headrace.yaml"
        document: dict[str, Any] = {
            "registry": {"tracking_uri": registry},
            "gateway": {"port": 0},
            "admin": {"port": 0},
            "log": {"access": "full"},
            "models": {"*": {"uri": "models:/*@production", "errors": {"mode": "strict"}}},
        }
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        self.log, self.screen = directory / "log", directory / "screen"
        self.environ = {**os.environ, "HEADRACE_HOME": str(directory / "home"), "HOME": str(directory)}
        with self.log.open("wb") as log, self.screen.open("wb") as screen:
            self.process = subprocess.Popen(
                [HEADRACE, "serve", "--config", str(file), "--log-format", "text", "--log-level", "debug"],
                stdout=screen,
                stderr=log,
                env=self.environ,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command of an operator's, and what it prints."""
        command = [HEADRACE, *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    directory = tmp_path_factory.mktemp("hostile")
    names = json.dumps({"moody.py": [CURSOR, WRITING, FOLDED, EXACT], "loud.py": [LOUD]})
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKE, names, str(Path(__file__).parent), str(directory)], check=True
    )
    one = Shown(directory, f"sqlite:///{directory / 'mlflow.db'}")
    try:
        until(lambda: "Ctrl-C finishes" in one.screen.read_text(), "the screen")
        yield one
    finally:
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(PATIENCE_S)


def assert_obeyable_by_nobody(output: bytes) -> list[str]:
    """Every line is printable; returns them."""
    lines = output.decode().split("\n")
    for line in lines:
        assert line.isprintable(), repr(line)
    return lines


def admin(shown: Shown) -> str:
    line = next(line for line in shown.log.read_text().splitlines() if "] admin " in line)
    return line.rpartition("address=")[2].strip()


def gateway(shown: Shown) -> str:
    models = ask(f"{admin(shown)}/api/models").json["models"]
    return str(next(model["url"] for model in models if model["ready"]))


def test_the_screen_and_the_log(shown: Shown) -> None:
    ask(f"{gateway(shown)}/invocations", {"inputs": ["a"]})
    screen = assert_obeyable_by_nobody(shown.screen.read_bytes())
    for name in (CURSOR, WRITING):
        assert any(f"{printable(name)}/1 on http" in line for line in screen)
    assert any("does not serve" in line and "\\x1b[2J weights" in line for line in screen)
    log = until(lambda: (text := shown.log.read_bytes()) and b"request " in text and text, "the access log")
    lines = assert_obeyable_by_nobody(log)
    assert any("output" in line and "loading\\x07" in line for line in lines)
    assert not any(line.startswith("12:00:00 [info     ] all is well") for line in lines)


def test_the_header_is_valid_and_names_the_version(shown: Shown) -> None:
    models = [m for m in ask(f"{admin(shown)}/api/models").json["models"] if m["ready"]]
    assert len(models) == 3
    for model in models:
        answer = ask(f"{model['url']}/invocations", {"inputs": ["a"]})
        assert answer.status == 200
        assert answer.headers["headrace-model"].encode("latin-1") == header_value(model["current"]["label"])


def test_the_admin_port(shown: Shown) -> None:
    for path in ("/api/models", "/metrics", "/", "/models/loud", "/api/models/loud/history"):
        answer = ask(f"{admin(shown)}{path}")
        assert answer.status == 200, (path, answer.body[:300])
        assert_obeyable_by_nobody(answer.body.replace(b"\t", b" "))
    labels = {m["current"]["label"] for m in ask(f"{admin(shown)}/api/models").json["models"] if m["current"]}
    assert labels == {f"{CURSOR}/1", f"{WRITING}/1", f"{EXACT}/1"}


def test_the_commands_of_operators(shown: Shown) -> None:
    at = ("--admin", admin(shown))
    served = gateway(shown)
    for arguments in (
        ("status", *at), ("status", "--json", *at), ("history", "loud", *at), ("history", "loud", "--json", *at),
        ("check", served, *at), ("check", served, "--json", *at), ("refresh", "loud", *at), ("history", "x\x1b", *at),
    ):  # fmt: skip
        done = shown.run(*arguments)
        assert b"Traceback" not in done.stderr
        assert_obeyable_by_nobody(done.stdout)
        assert_obeyable_by_nobody(done.stderr)
    status = shown.run("status", *at).stdout.decode()
    assert printable(f"{WRITING}/1") in status
    assert " left out" in status
    assert f"{printable(FOLDED)}: the name 'pair' is that of another registered model" in status
