"""`headrace serve`, the real thing: real processes, a real sqlite registry, real HTTP."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.moving import Registry
from tests.integration.serving import HEADRACE, Answer, ask, serving, until
from tests.ports import free_port
from tests.registries import place

HAPPY = {"instances": ["good great happy"]}


def config(registry: str, **models: dict[str, Any]) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {name: {"port": 0, **model} for name, model in models.items()},
    }


def test_two_models_on_their_ports_and_on_the_shared_one(registry: str, tmp_path: Path) -> None:
    document = config(
        registry, mood={"uri": "models:/mood@production", "replicas": 2}, staged={"uri": "models:/mood/Production"}
    )
    document["gateway"] = {"port": 0}
    # Port 0 of the shared port is not told per model: give it a number that is free.
    document["gateway"]["port"] = free_port()
    shared = f"http://127.0.0.1:{document['gateway']['port']}"
    with serving(tmp_path, document) as one:
        for name in ("mood", "staged"):
            answer = ask(f"{one.url(name)}/invocations", HAPPY)
            assert (answer.status, answer.json) == (200, {"predictions": ["pos"]})
            assert answer.headers["headrace-model"] == "mood/1"
            assert ask(f"{one.url(name)}/ping").status == 200
            assert ask(f"{one.url(name)}/ping", method="HEAD").status == 200
            through = ask(f"{shared}/models/{name}/invocations", HAPPY)
            assert (through.status, through.json) == (200, {"predictions": ["pos"]})
        assert ask(f"{one.url('mood')}/version").body == ask(f"{shared}/models/mood/version").body != b""
        assert ask(f"{shared}/models/other/invocations", HAPPY).status == 404
        assert ask(f"{one.admin}/livez").status == 200
        assert ask(f"{one.admin}/readyz").status == 200
        until(lambda: one.status("mood")["replicas"]["ready"] == 2, "both replicas")
        assert one.stop() == 0
    assert "mood/1 on http://" in one.output
    assert "curl http://127.0.0.1:" in one.output
    look = next(shlex.split(line) for line in one.output.splitlines() if " ui " in line)
    assert shutil.which(look[0]), "what a newcomer pastes must be found, whatever is on the path"
    assert look[1:] == ["ui", "--backend-store-uri", registry, "--port", look[-1]]
    assert one.other_lines == []


def test_one_model_by_the_options_of_mlflow(registry: str, tmp_path: Path) -> None:
    arguments = ["-m", "models:/mood/1", "-p", "0", "-h", "127.0.0.1", "-t", "30", "-w", "1", "--env-manager", "local"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environ = {"MLFLOW_TRACKING_URI": registry, "NOTIFY_SOCKET": systemd.getsockname()}
        with serving(tmp_path, None, *arguments, "--admin-port", "0", environ=environ) as one:
            assert systemd.recv(200) == b"READY=1\nSTATUS=1 of 1 models can answer"
            assert ask(f"{one.url('mood')}/invocations", {"inputs": ["bad awful sad"]}).json == {"predictions": ["neg"]}
            assert one.stop(signal.SIGINT) == 0
            assert systemd.recv(200).startswith(b"STOPPING=1\n")


@pytest.mark.slow
def test_a_second_run_has_the_ports_again_and_brings_nothing_anew(registry: str, tmp_path: Path) -> None:
    root = Path(registry.removeprefix("sqlite:///")).parent / "artifacts"
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert before
    port = free_port()
    document = config(registry, mood={"uri": "models:/mood@production"})
    document["models"]["mood"]["port"] = port
    digests, copies = [], []
    for _ in range(2):
        with serving(tmp_path, document) as one:
            assert ask(f"{one.url('mood')}/invocations", HAPPY).status == 200
            digests.append(one.status("mood")["current"]["digest"])
            assert one.stop() == 0
        with pytest.raises(OSError, match="refused"):
            ask(f"http://127.0.0.1:{port}/ping")
        files = [p for p in (tmp_path / "home/models").rglob("*") if p.is_file() and p.suffix != ".pyc"]
        copies.append({p: p.stat().st_mtime_ns for p in files})
    assert digests[0] == digests[1]
    assert copies[0] == copies[1]
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before, (
        "the registry's own directory is not written to"
    )


def test_a_moved_alias_is_followed(registry: str, moves: Registry, tmp_path: Path) -> None:
    moves.point("mood", "moving", "1")
    with serving(tmp_path, config(registry, mood={"uri": "models:/mood@moving"})) as one:
        url = f"{one.url('mood')}/invocations"
        assert ask(url, HAPPY).headers["headrace-model"] == "mood/1"
        moves.point("mood", "moving", "2")
        answers: list[Answer] = []

        def moved() -> bool:
            answers.append(ask(url, HAPPY))
            return answers[-1].headers["headrace-model"] == "mood/2"

        until(moved, "the alias to be followed")
        assert {a.status for a in answers} == {200}
        assert answers[-1].json == {"predictions": ["good"]}
        assert one.status("mood")["warm"]["label"] == "mood/1"


NOWHERE = {
    "models:/nothing@production": "no such model",
    "models:/mood@nothing": "no alias 'nothing'; its aliases: ",
    "models:/mood/99": "no version '99'",
    "models:/mood/Staging": "Staging",
    "no/such/directory": "no such directory",
    "runs:/0123456789abcdef0123456789abcdef/model": "there is no such run at sqlite:///",
    "model:/mood/1": "Could not find a registered artifact repository",
}


# In a process of its own, as the registry agent does it: MLflow's client keeps its address for the whole process.
ASK = """
import json, sys
from headrace.core.errors import ModelNotFound
from headrace.core.identity import parse_model_uri
from headrace.registry import directory
from headrace.registry.resolver import Resolver

resolver, told = Resolver(sys.argv[1], None, 60.0), []
for uri in sys.argv[2:]:
    try:
        told.append(str(directory.resolve(parse_model_uri(uri)) or resolver.resolve(uri)))
    except ModelNotFound as error:
        told.append(f"not found: {error}")
print(json.dumps(told))
"""


def test_a_uri_that_leads_nowhere_is_told_with_what_there_is(registry: str) -> None:
    asked = [sys.executable, "-c", ASK, registry, *NOWHERE]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True)
    for told, says in zip(json.loads(done.stdout), NOWHERE.values(), strict=True):
        assert told.startswith("not found: ")
        assert says in told


LEAN = """
import sys
from pathlib import Path
from headrace.registry.resolver import Resolver

MODELS = {"numpy", "pandas", "pyarrow", "scipy", "sklearn"}
resolver = Resolver(sys.argv[1], None, 60.0)
assert str(resolver.resolve("models:/mood@production").version) == "1"
assert not MODELS & sys.modules.keys(), "the registry agent imports what only models need"
assert resolver.download(resolver.resolve("models:/mood/2"), Path(sys.argv[2])).joinpath("MLmodel").exists()
assert not MODELS & sys.modules.keys(), "or for a download"
"""

# What a package that brings MLflow a store may do: its entry point is all that is known of it.
WITH_A_PLUGIN = """
import sys
from headrace.registry.resolver import Resolver

resolver = Resolver(sys.argv[1], None, 60.0)
import mlflow.pyfunc
"""


def test_the_registry_is_asked_without_the_libraries_of_models(registry: str, tmp_path: Path) -> None:
    asked = [sys.executable, "-c", LEAN, registry, str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_plugin_of_mlflows_has_all_of_mlflow(registry: str, tmp_path: Path) -> None:
    told = tmp_path / "a_store-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: a-store\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[mlflow.artifact_repository]\nsomewhere = json:JSONDecoder\n")
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_PLUGIN, registry],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("uri", "says"),
    [("models:/mood@nothing", NOWHERE["models:/mood@nothing"]), ("models:/mood/Nonsense", "is no stage")],
)
def test_a_uri_that_leads_nowhere_is_one_line_and_exit_code_2(
    registry: str, tmp_path: Path, uri: str, says: str
) -> None:
    with serving(tmp_path, config(registry, mood={"uri": "models:/mood/1"}, lost={"uri": uri})) as one:
        assert one.wait() == 2
    lines = [line for line in one.other_lines if line]
    assert len(lines) == 1, lines
    file, number, path, _ = lines[0].removeprefix("headrace: ").split(":", 3)
    assert (file, path) == (str(tmp_path / "headrace.yaml"), " models.lost.uri")
    assert "uri: " in Path(file).read_text().splitlines()[int(number) - 1]
    assert says in lines[0]


def run_to_its_end(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [HEADRACE, "serve", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.strip()


def test_a_busy_port_is_named_with_its_path_in_the_file(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = tmp_path / "headrace.yaml"
        file.write_text(f"models: {{a: {{uri: 'models:/mood/1', port: {port}}}}}\nadmin: {{port: 0}}\n")
        code, line = run_to_its_end(tmp_path, "--config", str(file))
        assert code == 2
        assert line.startswith(f"headrace: {file}:1: models.a.port: port {port} on 127.0.0.1 is in use; stop")
        code, line = run_to_its_end(tmp_path, "-m", "models:/mood/1", "-p", str(port), "--admin-port", "0")
        assert (code, line.partition(";")[0]) == (2, f"headrace: port {port} on 127.0.0.1 is in use")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either -m MODEL_URI for one model, or --config FILE"),
        (["-m", "models:/a/1", "--config", "x.yaml"], "give either"),
        (["--config", "absent.yaml"], "absent.yaml: no such file"),
        (["-m", "models:/a"], "is not a model URI"),
        (["-m", "models:/a/1", "-p", "0", "--admin-port", "0"], "has no database file; check MLFLOW_TRACKING_URI"),
        (
            ["--config", "home.yaml"],
            "home.yaml: /dev/null/models cannot be made a private directory (Not a directory): name another ",
        ),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent.db")
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    (tmp_path / "home.yaml").write_text("{home: /dev/null, admin: {port: 0}, models: {a: {uri: x, port: 0}}}")
    code, text = run_to_its_end(tmp_path, *arguments, "--log-level", "error")
    assert code == 2
    assert says in text
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "absent.db").exists()


def test_a_model_that_cannot_load_fails_beside_a_good_one(registry: str, tmp_path: Path) -> None:
    document = config(registry, mood={"uri": place(registry, "mood/1")}, broken={"uri": place(registry, "broken/1")})
    with serving(tmp_path, document) as one:
        failed = one.event("FAILED", model="broken")
        assert "the weights are missing" in failed["reason"]
        attempts = [e for e in one.events if e["event"] == "model did not load"]
        assert len(attempts) == 2, "three tries: two that are followed by another"
        assert ask(f"{one.url('mood')}/invocations", HAPPY).status == 200
        answer = ask(f"{one.url('broken')}/invocations", HAPPY)
        assert answer.status == 503
        assert "the weights are missing" in answer.json["message"]
        ping = ask(f"{one.url('broken')}/ping")
        assert (ping.status, ask(f"{one.url('mood')}/ping").status) == (503, 200)
        assert one.status("broken")["state"] == "FAILED"
        assert "the weights are missing" in one.status("broken")["problem"]
        ready = ask(f"{one.admin}/readyz")
        assert (ready.status, list(ready.json["waiting_for"])) == (503, ["broken"])


def test_models_come_up_one_after_another_where_that_is_asked_for(registry: str, tmp_path: Path) -> None:
    models = {name: {"uri": place(registry, "moody/1"), "port": 0, "environment": "local"} for name in ("a", "b", "c")}
    document = {"registry": {"tracking_uri": registry}, "admin": {"port": 0}, "bring_up_at_once": 1, "models": models}
    with serving(tmp_path, document, environ={"MOODY_SLOW_LOAD": "0.3", "HEADRACE_PASS_ENV": "MOODY_*"}) as one:
        for name in models:
            assert ask(f"{one.url(name)}/ping").status == 200
        steps = [e for e in one.events if e["event"] in {"worker started", "worker ready"}]
    assert [e["event"] for e in steps] == ["worker started", "worker ready"] * 3
    assert all(start["model"] == ready["model"] for start, ready in zip(steps[::2], steps[1::2], strict=True))


def test_health_is_503_until_a_worker_is_ready(registry: str, tmp_path: Path) -> None:
    document = config(registry, moody={"uri": place(registry, "moody/1")})
    document["models"]["moody"]["port"] = free_port()
    url = f"http://127.0.0.1:{document['models']['moody']['port']}"
    with serving(tmp_path, document, environ={"MOODY_SLOW_LOAD": "1", "HEADRACE_PASS_ENV": "MOODY_*"}) as one:
        early = until(lambda: ask(f"{url}/ping"), "the gateway to answer")
        assert early.status == 503
        assert ask(f"{url}/invocations", HAPPY).status == 503
        until(lambda: ask(f"{url}/ping").status == 200, "the model to be ready")
        one.event("worker ready", model="moody")


def test_health_answers_while_every_worker_is_busy(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1")})) as one:
        url = one.url("moody")
        busy = threading.Thread(target=ask, args=(f"{url}/invocations", {"instances": ["sleep:3"]}))
        busy.start()
        answered = 0
        while busy.is_alive():
            assert ask(f"{url}/ping").status == 200
            answered += 1
        busy.join()
        assert answered > 100, "a probe that waits for the worker answers once in three seconds"


def test_sigterm_finishes_what_is_in_flight(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1")})) as one:
        url = f"{one.url('moody')}/invocations"
        answers: list[Answer] = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(url, {"instances": ["sleep:0.5"]}))) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        until(lambda: one.processes("role=replica"), "the worker")
        # The first is with the worker, the others wait; all were accepted before the signal.
        until(lambda: len(_established(one)) >= 6, "six connections")
        one.process.send_signal(signal.SIGTERM)
        # Who comes now is told at once, and not left waiting in a port that nobody listens at any more.
        until(lambda: _refused(url), "new connections to be refused")
        assert one.process.poll() is None
        assert one.wait() == 0
        for thread in threads:
            thread.join()
        assert [a.status for a in answers] == [200] * 6


def _refused(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


def _established(one: Any) -> list[Any]:
    (gateway,) = one.processes("headrace.gateway")
    return [c for c in gateway.net_connections("tcp") if c.status == "ESTABLISHED"]
