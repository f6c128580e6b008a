"""A whole server with TLS on every port: what clients and commands verify, and what happens to its files."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from headrace.client import connect
from headrace.client.errors import Unavailable
from tests.authority import Authority, Pair, common_name
from tests.integration.serving import HEADRACE, Serving, serving, until
from tests.integration.test_serve import HAPPY, config
from tests.registries import place


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are mounted: a Kubernetes Secret, whose newest state `..data` points to."""
    return tmp_path_factory.mktemp("secret")


def mount(secret: Path, pair: Pair) -> None:
    """Change the files as a kubelet does: a new directory, and one atomic rename of the link to it."""
    state = secret / f"..{pair.certificate.stem}"
    state.mkdir()
    shutil.copy(pair.certificate, state / "tls.crt")
    shutil.copy(pair.key, state / "tls.key")
    link = secret / "..data_tmp"
    link.symlink_to(state.name)
    link.rename(secret / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (secret / name).is_symlink():
            (secret / name).symlink_to(f"..data/{name}")


@pytest.fixture(scope="module")
def one(
    registry: str, authority: Authority, secret: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    mount(secret, authority.issue("first", days=3.0, age_days=80.0))
    document = config(registry, mood={"uri": place(registry, "mood/1")})
    document["tls"] = {"certificate": str(secret / "tls.crt"), "key": str(secret / "tls.key")}
    with serving(tmp_path_factory.mktemp("tls"), document) as started:
        started.url("mood")
        yield started


def run(authority: Authority | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"HEADRACE_SERVER_CERT_PATH": str(authority.file)} if authority is not None else {}
    return subprocess.run(
        [HEADRACE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environ},
    )


def shown(url: str, authority: Authority) -> str:
    """The name in the certificate that a port shows."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=authority.file)
    with (
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        return common_name(client)


def test_commands_verify_and_say_so(one: Serving, authority: Authority) -> None:
    url = one.url("mood")
    assert url.startswith("https://")
    good = run(authority, "check", url, "--admin", one.admin, "--data", json.dumps(HAPPY))
    assert good.returncode == 0, good.stdout + good.stderr
    unknown = run(None, "check", url)
    assert unknown.returncode == 1
    assert "certificate verify failed" in unknown.stdout.lower()
    predicted = run(None, "predict", "-a", url, "--ca", str(authority.file), "great day")
    assert predicted.returncode == 0, predicted.stderr
    assert run(None, "predict", "-a", url, "--deadline", "5", "great day").returncode == 1
    status = run(authority, "status", "--admin", one.admin)
    assert status.returncode == 0, status.stderr
    assert "it expires in" in status.stdout
    assert run(None, "status", "--admin", one.admin).returncode == 1
    wrong = run(None, "check", url, "--ca", "/nowhere.pem")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_the_client_verifies_the_name_too(one: Serving, authority: Authority) -> None:
    url, port = one.url("mood"), urlsplit(one.url("mood")).port
    with connect(url, verify=str(authority.file)) as client:
        assert client.predict(["great day"])
    # Any address of 127/8 is this machine: one that the certificate does not name.
    with connect(f"https://127.0.0.2:{port}", verify=str(authority.file)) as client, pytest.raises(Unavailable):
        client.predict(["great day"], deadline_s=5.0)
    with connect(url) as client, pytest.raises(Unavailable, match="certificate verify failed"):
        client.predict(["great day"], deadline_s=5.0)


def get(url: str, authority: Authority) -> str:
    context = ssl.create_default_context(cafile=authority.file)
    with urlopen(url, context=context, timeout=60) as answer:
        return str(answer.read().decode())


def test_what_ages_is_told_in_status_metrics_and_log(one: Serving, authority: Authority) -> None:
    assert "expires in" in one.event("certificate")["trouble"]
    told = json.loads(get(f"{one.admin}/api/models", authority))
    assert "expires in" in told["certificates"][0]["trouble"]
    metrics = get(f"{one.admin}/metrics", authority)
    for name in ("certificate_expiry_timestamp_seconds", "certificate_reloads_total", "tls_handshakes_total"):
        assert f"headrace_{name}{{" in metrics, name


def test_the_dashboards_try_box_reaches_a_port_with_tls(one: Serving, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.file)
    asked = Request(
        f"{one.admin}/api/models/mood/try",
        json.dumps(HAPPY).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urlopen(asked, context=context, timeout=60) as answer:
        assert json.loads(answer.read())["status"] == 200


def test_files_that_change_are_taken_when_they_are_whole(one: Serving, authority: Authority, secret: Path) -> None:
    """As cert-manager and a kubelet change them; then by hand, one after the other."""
    mount(secret, authority.issue("second"))
    one.event("certificate changed")
    until(lambda: {shown(one.url("mood"), authority), shown(one.admin, authority)} == {"second"}, "the second one")
    third = authority.issue("third")
    state = secret / "..second"
    shutil.copy(third.certificate, state / "tls.crt")
    refused = one.event("certificate not taken")
    assert "is not that of the certificate" in refused["error"]
    assert "is not taken" in json.loads(get(f"{one.admin}/api/models", authority))["certificates"][0]["trouble"]
    assert shown(one.url("mood"), authority) == "second"
    # A gateway that starts now has only the supervisor to ask.
    before = one.processes("headrace.gateway")[0]
    before.kill()
    until(lambda: [p for p in one.processes("headrace.gateway") if p.pid != before.pid], "another gateway")
    assert until(lambda: shown(one.url("mood"), authority), "the other gateway") == "second"
    shutil.copy(third.key, state / "tls.key")
    until(lambda: {shown(one.url("mood"), authority), shown(one.admin, authority)} == {"third"}, "the third one")
    assert json.loads(get(f"{one.admin}/api/models", authority))["certificates"][0]["trouble"] is None


def test_wrong_files_end_the_start_with_one_line_and_exit_code_2(
    registry: str, authority: Authority, tmp_path: Path
) -> None:
    document = config(registry, mood={"uri": place(registry, "mood/1")})
    document["tls"] = {"certificate": str(authority.issue("a").certificate), "key": str(authority.issue("b").key)}
    with serving(tmp_path, document) as started:
        assert started.wait() == 2
    assert [line for line in started.other_lines if "tls.key" in line]
    assert "is not that of the certificate" in started.other_lines[-1]
