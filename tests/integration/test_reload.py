"""A running headrace reads its file again: what changed is done, nothing else, and no request fails meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.integration.load import Load
from tests.integration.serving import HEADRACE, Answer, Serving, ask, serving, until
from tests.integration.test_serve import HAPPY, config
from tests.ports import free_port

MOOD = "models:/mood@production"


class Reloaded:
    """A server, and the file that it was started with."""

    def __init__(self, server: Serving, file: Path, document: dict[str, Any]) -> None:
        self.server = server
        self.file = file
        self.document = document

    def write(self, document: dict[str, Any]) -> None:
        self.document = document
        self.file.write_text(yaml.safe_dump(document), encoding="utf-8")

    def edit(self, name: str, **settings: Any) -> dict[str, Any]:
        """The document with other settings of one model."""
        models = self.document["models"]
        return {**self.document, "models": {**models, name: {**models[name], **settings}}}

    def become(self, document: dict[str, Any]) -> Answer:
        """Have a document reloaded, and wait until all of it is in force."""
        self.write(document)
        answer = ask(f"{self.server.admin}/api/reload", method="POST")
        if answer.status == 200:
            self.settle()
        return answer

    def settle(self) -> None:
        until(lambda: ask(f"{self.server.admin}/api/reload").json["settled"], "all of it to be in force")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "HEADRACE_ADMIN": self.server.admin, "COLUMNS": "200"}
        return subprocess.run([HEADRACE, *arguments], capture_output=True, text=True, check=False, env=environ)

    def pids(self, model: str) -> set[int]:
        return {one["pid"] for one in self.server.status(model)["current"]["processes"]}

    def gateways(self) -> set[int]:
        return set(ask(f"{self.server.admin}/api/models").json["gateways"]["pids"])

    def history(self, model: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask(f"{self.server.admin}/api/models/{model}/history").json
        return found


@pytest.fixture(scope="module")
def started(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    directory = tmp_path_factory.mktemp("reload")
    document = config(registry, mood={"uri": MOOD}, other={"uri": MOOD})
    document["gateway"] = {"port": free_port()}
    del document["models"]["other"]["port"]
    with serving(directory, document) as server:
        server.url("mood")
        assert server.admin
        yield Reloaded(server, directory / "headrace.yaml", document)


@pytest.fixture
def one(started: Reloaded) -> Iterator[Reloaded]:
    """The server as it was at first, after each test, too."""
    first = started.document
    yield started
    assert started.become(first).status == 200


@contextlib.contextmanager
def asked(one: Reloaded, *models: str) -> Iterator[None]:
    """Clients ask these models all the while, and get nothing but answers."""
    shared = f"http://127.0.0.1:{one.document['gateway']['port']}"
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(f"{shared}/models/{name}/invocations", HAPPY)) for name in models]
        for load in loads:
            load.more(10)
        yield
        for load in loads:
            load.more(10)
    assert [set(load.statuses) for load in loads] == [{200} for _ in loads]


def test_a_file_that_says_the_same_changes_nothing(one: Reloaded) -> None:
    before = (one.pids("mood"), one.pids("other"), one.gateways())
    assert one.become(one.document).json["changes"] == []
    assert (one.pids("mood"), one.pids("other"), one.gateways()) == before
    assert one.run("reload").stdout.endswith("nothing has changed\n")
    same = one.run("diff")
    assert (same.returncode, same.stdout) == (0, f"{one.file}: what runs is what it says\n")


def test_what_is_live_leaves_every_process_as_it_is(one: Reloaded) -> None:
    before, gateways = one.pids("mood"), one.gateways()
    with asked(one, "mood", "other"):
        changed = one.edit("mood", replicas=2, cache={"ttl_s": 5}, queue={"max_rows": 77}, timeout_s=7, probe={})
        assert one.become({**changed, "health": {"ready": "any"}}).status == 200
        until(lambda: one.server.status("mood")["replicas"]["ready"] == 2, "the second replica")
    assert before < one.pids("mood")
    assert one.gateways() == gateways
    told = one.server.status("mood")
    assert (told["replicas"]["configured"], told["replicas"]["wanted"]) == (2, 2)
    assert told["probe"] is not None
    assert one.history("mood")[-1]["event"] == "reloaded"
    assert "models.mood.replicas: 1 -> 2" in one.history("mood")[-1]["reason"]
    assert one.history("other")[-1]["event"] != "reloaded"


def test_a_setting_of_processes_brings_new_ones_up_beside_the_old(one: Reloaded) -> None:
    mood, other = one.pids("mood"), one.pids("other")
    with asked(one, "mood", "other"):
        assert one.become(one.edit("mood", env={"LANGUAGE": "de"})).status == 200
    assert not mood & one.pids("mood")
    assert one.pids("other") == other
    assert one.server.status("mood")["ready"]


def test_what_does_not_come_up_leaves_what_serves_and_is_told(one: Reloaded) -> None:
    before = one.pids("mood")
    one.write(one.edit("mood", uri="models:/broken@production"))
    with asked(one, "mood"):
        assert ask(f"{one.server.admin}/api/reload", method="POST").status == 200
        one.server.event("FAILED", model="mood")
        told = until(lambda: ask(f"{one.server.admin}/api/reload").json["pending"].get("mood"), "why it is pending")
        assert told
        assert any("'mood' are not in force" in w for w in ask(f"{one.server.admin}/api/models").json["warnings"])
    assert one.pids("mood") == before
    assert one.become(one.edit("mood", uri=MOOD)).status == 200
    assert one.pids("mood") == before  # they fit again, and were never given up


def test_models_come_and_go(one: Reloaded) -> None:
    port = free_port()
    models = one.document["models"]
    more = {**models, "third": {"uri": MOOD, "port": port}}
    with asked(one, "mood", "other"):
        assert one.become({**one.document, "models": more}).status == 200
        until(lambda: ask(f"http://127.0.0.1:{port}/invocations", HAPPY).status == 200, "the model's own port")
        assert one.become({**one.document, "models": models}).status == 200
    with pytest.raises(ConnectionRefusedError):
        ask(f"http://127.0.0.1:{port}/ping")
    assert "third" not in [m["name"] for m in ask(f"{one.server.admin}/api/models").json["models"]]


def test_ports_move_and_gateways_take_over_while_clients_ask(one: Reloaded) -> None:
    first, second = free_port(), free_port()
    gateways, pids = one.gateways(), one.pids("mood")
    with asked(one, "mood", "other"):
        assert one.become(one.edit("mood", port=first)).status == 200
        assert ask(f"http://127.0.0.1:{first}/invocations", HAPPY).status == 200
        assert one.become(one.edit("mood", port=second)).status == 200
        assert ask(f"http://127.0.0.1:{second}/invocations", HAPPY).status == 200
        with pytest.raises(ConnectionRefusedError):
            ask(f"http://127.0.0.1:{first}/ping")
        for processes in (3, 1):
            gateway = {**one.document["gateway"], "processes": processes}
            assert one.become({**one.document, "gateway": gateway}).status == 200
            assert len(one.gateways()) == processes
    assert not gateways & one.gateways()
    assert one.pids("mood") == pids
    until(lambda: len(one.server.processes("headrace.gateway")) == 1, "the former gateways to end")


def test_gateways_that_are_old_are_renewed_and_lose_no_request(one: Reloaded) -> None:
    with asked(one, "mood", "other"):
        gateway = {**one.document["gateway"], "max_age_s": 1}
        assert one.become({**one.document, "gateway": gateway}).status == 200
        seen = len(one.server.events)
        renewed = one.server.event("gateways renewed", after=seen)
        one.server.event("gateways renewed", after=one.server.events.index(renewed) + 1)
        assert one.become({**one.document, "gateway": {"port": gateway["port"]}}).status == 200


def test_keys_are_asked_for_from_then_on_and_whose_it_was_is_in_the_history(one: Reloaded) -> None:
    first = one.document
    made = one.run("key", "create", "nightshift", "--role", "admin", "--file", str(one.file.parent / "keys.jsonl"))
    shown = {"Authorization": f"Bearer {made.stdout.split()[-1]}", "Content-Type": "application/json"}
    reload = f"{one.server.admin}/api/reload"
    url = f"http://127.0.0.1:{first['gateway']['port']}/models/mood/invocations"
    one.write({**first, "auth": {"keys": "keys.jsonl"}})
    assert ask(reload, method="POST").status == 200
    assert [ask(url, HAPPY).status, ask(url, HAPPY, headers=shown).status] == [401, 200]
    one.write({**first, "auth": {"keys": "none.jsonl"}})
    assert ask(reload, method="POST", headers=shown).status == 409
    one.write(first)
    assert ask(reload, method="POST", headers=shown).status == 200
    assert [ask(url, HAPPY).status, ask(reload).status] == [200, 200]
    assert ask(f"{reload}/history").json[-1]["reason"].endswith("; by nightshift")


def test_who_has_connected_to_the_admin_port_before_a_reload_is_answered(one: Reloaded) -> None:
    host, port = urlsplit(one.server.admin).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=1) as early:
        assert one.become({**one.document, "admin": {"port": 0, "hosts": ["elsewhere"]}}).status == 200
        with pytest.raises(TimeoutError):
            early.recv(1)
        early.settimeout(60)
        early.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert early.recv(100).startswith(b"HTTP/1.1 200")


def test_a_port_that_is_taken_changes_nothing(one: Reloaded) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        before = (one.pids("mood"), one.gateways())
        answer = one.become({**one.edit("mood", port=port, replicas=3)})
        assert (answer.status, answer.json["error_code"]) == (409, "CONFLICT")
        assert f"models.mood.port: port {port} on 127.0.0.1 is in use" in answer.json["message"]
        assert (one.pids("mood"), one.gateways()) == before
        assert one.server.status("mood")["replicas"]["configured"] == 1


def test_a_mistake_changes_nothing_and_stays_in_the_status_until_a_good_file_comes(one: Reloaded) -> None:
    good, before = one.document, (one.pids("mood"), one.gateways())
    one.file.write_text(json.dumps({**one.edit("mood", replicas=-1), "nonsense": 1}))
    done = one.run("reload")
    assert done.returncode == 2
    assert "models.mood.replicas" in done.stderr
    assert "nonsense" in done.stderr
    assert str(one.file) in done.stderr
    status = one.run("status")
    assert "is not in force" in status.stdout
    assert (one.pids("mood"), one.gateways()) == before
    assert one.run("diff").returncode == 2
    assert one.become(good).status == 200
    assert "is not in force" not in one.run("status").stdout


def test_what_cannot_change_is_said_before_anything_is_done(one: Reloaded) -> None:
    before = one.pids("mood")
    changed = {**one.edit("mood", replicas=2), "home": "elsewhere"}
    one.write(changed)
    planned = one.run("reload", "--dry-run")
    assert planned.returncode == 2
    assert "models.mood.replicas" in planned.stdout
    assert "home: cannot change while headrace runs" in planned.stderr
    assert one.become(changed).status == 409
    assert one.pids("mood") == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(one: Reloaded) -> None:
    before = one.pids("mood")
    one.write(one.edit("mood", env={"A": "secret"}, replicas=2))
    planned = one.run("reload", "--dry-run")
    assert planned.returncode == 0
    rows = [line.split() for line in planned.stdout.splitlines()]
    assert ["models.mood.replicas", "1", "2", "live"] in rows
    assert "new processes for mood" in planned.stdout
    assert "secret" not in planned.stdout
    assert one.run("diff").returncode == 1
    assert one.pids("mood") == before


def test_models_become_tools_and_none_is_lost_on_the_way(one: Reloaded) -> None:
    url = f"http://127.0.0.1:{one.document['gateway']['port']}/mcp"

    def tools() -> list[str]:
        told = ask(url, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).json
        return [tool["name"] for tool in told["result"]["tools"]]

    assert ask(url, {"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 404
    first = one.gateways()
    with asked(one, "mood"):
        assert one.become({**one.document, "mcp": {"models": ["mo*"]}}).status == 200
        second = one.gateways()
        assert tools() == ["mood"]
        assert one.become({**one.document, "mcp": {"models": ["other"]}}).status == 200
        assert tools() == ["other"]
    assert not first & second, "they look at no other headers than before"
    assert one.gateways() == second


def test_sighup_reloads_and_who_it_was_is_in_the_history(one: Reloaded) -> None:
    one.write(one.edit("mood", batch={"max_bytes": 1000}))
    seen = len(one.server.events)
    one.server.process.send_signal(signal.SIGHUP)
    told = one.server.event("reloaded", after=seen)
    assert (told["by"], told["count"]) == ("SIGHUP", 1)
    past = ask(f"{one.server.admin}/api/reload/history").json
    assert past[-1]["reason"].endswith("; by SIGHUP")
    assert one.history("mood")[-1]["reason"].endswith("; by SIGHUP")


def test_what_an_operator_has_ordered_stays_until_the_file_says_otherwise(one: Reloaded) -> None:
    assert ask(f"{one.server.admin}/api/models/mood/scale?replicas=2", method="POST").status == 200
    assert ask(f"{one.server.admin}/api/models/mood/pause", method="POST").status == 200
    assert one.become(one.edit("mood", timeout_s=9)).status == 200
    assert one.server.status("mood")["replicas"]["wanted"] == 2
    assert one.become(one.edit("mood", env={"A": "b"})).status == 200
    told = one.server.status("mood")
    assert (told["replicas"]["wanted"], told["paused"]) == (2, True)
    assert one.become(one.edit("mood", replicas=3)).status == 200
    assert one.server.status("mood")["replicas"]["wanted"] == 3
    assert ask(f"{one.server.admin}/api/models/mood/resume", method="POST").status == 200


def test_a_level_of_the_log_holds_at_once(started: Reloaded) -> None:
    """The command line of this server says `debug`, and stands above the file."""
    changes = started.become({**started.document, "log": {"level": "error"}}).json["changes"]
    assert changes == []
    started.write({key: value for key, value in started.document.items() if key != "log"})


def test_without_a_file_there_is_nothing_to_reload(registry: str, tmp_path: Path) -> None:
    arguments = ("-m", MOOD, "-p", "0", "--admin-port", "0")
    with serving(tmp_path, None, *arguments, environ={"MLFLOW_TRACKING_URI": registry}) as server:
        answer = ask(f"{server.admin}/api/reload", method="POST")
        assert (answer.status, "without a file" in answer.json["message"]) == (409, True)
        assert server.stop(signal.SIGHUP) == 0
