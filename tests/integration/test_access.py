"""A whole server that asks for keys: the admin port's routes and roles, the commands, and what nobody gets to see."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.routing import Mount, Route

from headrace.config.load import parse
from headrace.core.admin.audit import Chain
from headrace.supervisor.admin.server import make_app
from headrace.supervisor.app import Supervisor
from headrace.telemetry.logs import make_log
from tests.integration.serving import HEADRACE, Answer, Serving, ask, serving, until
from tests.integration.test_serve import HAPPY, config
from tests.processes import command, family

ROLES = ("predict", "read", "operate", "admin")


def run(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADRACE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **(environ or {})},
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def keys(directory: Path) -> dict[str, str]:
    """A key for each role, made by the command: the last word of what it prints."""
    made = {}
    for role in ROLES:
        done = run("key", "create", f"key-of-{role}", "--role", role, "--file", str(directory / "keys.jsonl"))
        assert done.returncode == 0, done.stderr
        made[role] = done.stdout.split()[-1]
    return made


@pytest.fixture(scope="module")
def one(registry: str, directory: Path, keys: dict[str, str]) -> Iterator[Serving]:
    assert keys
    document = config(registry, mood={"uri": "models:/mood@production"})
    document["auth"] = {"keys": "keys.jsonl"}
    document["quotas"] = {"few": {"rows_per_day": 12}}
    document["gateway"] = {"processes": 2}
    document["audit"] = "audit.jsonl"
    with serving(directory, document) as started:
        started.url("mood")
        yield started


def shown(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key is not None else {"X-Nothing": "1"}


def get(url: str, key: str | None, method: str = "GET") -> Answer:
    return ask(url, method=method, headers=shown(key))


def routes() -> list[str]:
    """Every path of the admin port's route table, with a model's name put in."""
    document = {"models": {"mood": {"uri": "models:/mood@production", "port": 0}}}
    made = make_app(Supervisor(parse(document), make_log("json", "error")))
    paths = [route.path for route in made.routes if isinstance(route, Route)]
    paths += [f"{route.path}/style.css" for route in made.routes if isinstance(route, Mount)]
    assert len(paths) > 15
    return [re.sub(r"\{\w+(:\w+)?\}", "mood", path) for path in paths]


def test_every_route_and_method_of_the_admin_port_needs_its_role(one: Serving, keys: dict[str, str]) -> None:
    """Webhooks are signed; of the probes, those for the whole are open, and say nothing but their status."""
    signed, probes, streams = "/hooks/mlflow", {"/livez", "/readyz", "/startedz"}, "/events"
    to_sign_in = {"/sign-in", "/sign-out", "/sign-in/with/mood", "/sign-in/return", "/static/style.css"}
    assert to_sign_in <= set(routes())
    for path, method in itertools.product(routes(), ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")):
        if path == signed:
            continue
        if path in to_sign_in:  # and nothing there says what is served
            open_ = get(f"{one.admin}{path}", None, method)
            assert open_.status < 500, (method, path)
            assert b"mood/1" not in open_.body, (method, path)
            continue
        reading = method in {"GET", "HEAD", "OPTIONS"}
        if path in probes and method in {"GET", "HEAD"}:
            assert get(f"{one.admin}{path}", None, method).body in {b"{}\n", b""}
            continue
        statuses = {get(f"{one.admin}{path}", key, method).status for key in (None, "hr_wrong")}
        assert statuses == {401}, (method, path)
        assert get(f"{one.admin}{path}", keys["predict"], method).status == 403, (method, path)
        if not reading:
            assert get(f"{one.admin}{path}", keys["read"], method).status == 403, (method, path)
        elif not path.endswith(streams):  # which do not end
            assert get(f"{one.admin}{path}", keys["read"], method).status not in {401, 403}, (method, path)
    assert get(f"{one.admin}/api/models/mood/refresh", keys["operate"], "POST").status == 202
    assert get(f"{one.admin}/api/models/mood/refresh", keys["admin"], "POST").status == 202


def test_a_refusal_of_the_admin_port_says_nothing_of_models(one: Serving, keys: dict[str, str]) -> None:
    for key in (None, "wrong", keys["predict"]):
        told = [get(f"{one.admin}/api/models/{name}", key) for name in ("mood", "missing")]
        assert told[0].body == told[1].body
        assert told[0].json["error_code"] == ("PERMISSION_DENIED" if key == keys["predict"] else "UNAUTHENTICATED")


def test_a_browser_asks_for_the_key_as_a_password(one: Serving, keys: dict[str, str]) -> None:
    assert get(one.admin, None).headers["www-authenticate"].startswith("Basic ")
    basic = base64.b64encode(f"me:{keys['operate']}".encode()).decode()
    assert ask(one.admin, headers={"Authorization": f"Basic {basic}"}).status == 200
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    tried = ask(f"{one.admin}/api/models/mood/try", HAPPY, headers=headers)
    assert (tried.status, tried.json["status"]) == (200, 200)
    forged = {**headers, "Origin": "https://elsewhere.example"}
    assert ask(f"{one.admin}/api/models/mood/refresh", {}, headers=forged).status == 403


def test_commands_and_the_client_show_a_key(one: Serving, keys: dict[str, str], tmp_path: Path) -> None:
    url = one.url("mood")
    file = tmp_path / "key"
    file.write_text(keys["predict"] + "\n")
    assert run("predict", "-a", url, "--token-file", str(file), "great day").returncode == 0
    refused = run("predict", "-a", url, "great day")
    assert (refused.returncode, "API key" in refused.stderr) == (1, True)
    assert run("status", "--admin", one.admin, environ={"HEADRACE_TOKEN": keys["read"]}).returncode == 0
    assert "API key" in run("status", "--admin", one.admin).stderr
    admin = {"HEADRACE_TOKEN": keys["admin"]}
    both = run("check", url, "--data", json.dumps(HAPPY), "--admin", one.admin, environ=admin)
    assert both.returncode == 0, both.stdout
    rolled = run("refresh", "mood", "--admin", one.admin, environ={"HEADRACE_TOKEN": keys["read"]})
    assert "'operate'" in rolled.stderr


def test_a_key_is_revoked_by_changing_the_file(one: Serving, directory: Path) -> None:
    file = str(directory / "keys.jsonl")
    key = run("key", "create", "brief", "--file", file).stdout.split()[-1]
    url = f"{one.url('mood')}/invocations"
    headers = {**shown(key), "Content-Type": "application/json"}
    until(lambda: ask(url, HAPPY, headers=headers).status == 200, "the new key")
    assert "brief" in run("key", "list", "--file", file).stdout
    assert run("key", "revoke", "brief", "--file", file).returncode == 0
    until(lambda: ask(url, HAPPY, headers=headers).status == 401, "the key to be taken back")
    good = (directory / "keys.jsonl").read_text()
    (directory / "keys.jsonl").write_text("nonsense\n")
    assert "line 1" in one.event("keys not taken")["error"]
    (directory / "keys.jsonl").write_text(good)


def test_a_quota_of_rows_holds_for_all_gateways_and_counts_what_there_was(
    one: Serving, keys: dict[str, str], directory: Path
) -> None:
    key = run("key", "create", "few", "--file", str(directory / "keys.jsonl")).stdout.split()[-1]
    url = f"{one.url('mood')}/invocations"
    headers = {**shown(key), "Content-Type": "application/json"}
    three = {"dataframe_split": {"columns": ["text"], "data": [["a, b, c, d"], ["[[e]]"], ["f"]]}}
    until(lambda: ask(url, three, headers=headers).status == 200, "the new key")
    passed = [ask(url, three, headers=headers) for _ in range(5)]  # each on a connection of its own
    assert [answer.status for answer in passed] == [200, 200, 200, 429, 429]
    assert passed[-1].headers["ratelimit-policy"] == "12;w=86400"
    told = get(f"{one.admin}/metrics", keys["read"]).body.decode()
    assert 'headrace_quota_requests_total{key="few"} 4' in told
    assert 'headrace_quota_refused_total{key="few",limit="rows_per_day"} 2' in told


def audited(directory: Path, what: str) -> list[dict[str, Any]]:
    """The entries of a kind, oldest first; the whole file is checked each time."""
    chain = Chain()
    found = [chain.follow(line) for line in (directory / "audit.jsonl").read_bytes().splitlines()]
    return [entry for entry in found if entry is not None and entry["what"] == what]


def test_what_is_changed_is_written_down_with_who_and_whence(
    one: Serving, keys: dict[str, str], directory: Path
) -> None:
    assert [(entry["model"], entry["version"]) for entry in audited(directory, "serving")] == [("mood", "mood/1")]
    paused = f"{one.admin}/api/models/mood/pause?reason=a+test"
    assert get(paused, keys["read"], "POST").status == 403
    assert get(paused, "hr_wrong", "POST").status == 401
    assert get(paused, keys["operate"], "POST").status == 200
    assert get(f"{one.admin}/api/models/mood/resume", keys["admin"], "POST").status == 200
    (asked,) = (entry for entry in audited(directory, "asked") if entry["order"] == "pause")
    assert asked["who"] == "key-of-operate"
    assert asked["whence"] == "127.0.0.1"
    assert asked["given"] == {"reason": "a test"}
    assert asked["was"] == {"serves": "mood/1", "replicas": 1, "paused": False}
    (answered,) = (entry for entry in audited(directory, "answered") if entry["of"] == asked["number"])
    assert (answered["status"], answered["is"]["paused"]) == (200, True)
    # Of one kind and address the first is noted, and then one in ten seconds: who it was depends on when it was asked.
    noted = {(entry["why"], entry["who"]) for entry in audited(directory, "refused")}
    assert {why for why, _ in noted} >= {"forbidden", "wrong"}
    assert {who for why, who in noted if why == "forbidden"} <= {"key-of-predict", "key-of-read"}
    run("key", "create", "came", "--file", str(directory / "keys.jsonl"))
    until(lambda: "came (" in str(audited(directory, "keys changed")), "the new key")
    file = str(directory / "audit.jsonl")
    verified = run("audit", "verify", file, "--json")
    assert verified.returncode == 0, verified.stderr
    told = json.loads(verified.stdout)
    assert run("audit", "verify", file, "--has", told["sha256"]).returncode == 0
    assert told["sha256"] in [event["sha256"] for event in one.events if event["event"] == "audited"]
    forged = directory / "forged.jsonl"
    forged.write_bytes((directory / "audit.jsonl").read_bytes().replace(b"key-of-operate", b"key-of-nobody!"))
    refused = run("audit", "verify", str(forged))
    assert (refused.returncode, "was changed" in refused.stderr) == (1, True)
    cut = run("audit", "verify", str(directory / "keys.jsonl"), "--has", told["sha256"])
    assert cut.returncode == 1


def test_no_key_is_in_logs_status_command_lines_or_workers(one: Serving, keys: dict[str, str], directory: Path) -> None:
    everything = [*map(str, one.events), *one.other_lines]
    everything.append((directory / "audit.jsonl").read_text())
    everything.append(get(f"{one.admin}/api/models", keys["admin"]).body.decode())
    everything.append(get(f"{one.admin}/metrics", keys["admin"]).body.decode())
    assert "headrace_access_refused_total{" in everything[-1]
    for process in family(one.process.pid):
        everything.append(command(process))
        try:
            everything.append(str(process.environ()))
        except psutil.AccessDenied:  # headrace's own are not dumpable
            continue
    digests = [json.loads(line)["sha256"] for line in (directory / "keys.jsonl").read_text().splitlines()]
    for secret in [*keys.values(), *(key.rpartition("_")[2] for key in keys.values()), *digests]:
        assert not [text for text in everything if secret in text]


def test_strict_refuses_a_port_that_lets_everybody_in(tmp_path: Path) -> None:
    document = "models: {a: {uri: /nowhere, port: 0, host: 0.0.0.0}}\nadmin: {port: 0}\n"
    (tmp_path / "headrace.yaml").write_text(document)
    done = run("serve", "--strict", "--config", str(tmp_path / "headrace.yaml"))
    assert done.returncode == 2
    assert "models.a.port: whoever reaches 0.0.0.0 may use it" in done.stderr
