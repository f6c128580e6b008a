"""The keys of an issuer: fetched from a real one, kept, and what is said when it makes no sense."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from headrace.config import security
from headrace.supervisor.security.issuers import IssuerKeys
from headrace.telemetry.logs import make_log
from tests.issuer import Issuer, Signer, issuer


@pytest.fixture(scope="module")
def corp() -> Iterator[Issuer]:
    with issuer() as one:
        yield one


def section(url: str, jwks_url: str | None = None) -> security.Issuer:
    return security.Issuer(issuer=url, audiences=("headrace",), jwks_url=jwks_url, roles_claim="roles")


def keys(of: security.Issuer, home: Path) -> tuple[IssuerKeys, list[int]]:
    """Those of an issuer, and one entry for each change of theirs."""
    changes: list[int] = []
    return IssuerKeys("corp", of, home, make_log("json", "error"), lambda: changes.append(1)), changes


def test_keys_are_fetched_kept_and_there_again_when_the_issuer_is_away(corp: Issuer, tmp_path: Path) -> None:
    one, changes = keys(section(corp.url), tmp_path)
    assert one.issuer.keys == b""
    asyncio.run(one.fetch())
    asyncio.run(one.fetch())
    assert (len(changes), one.describe()["keys"], one.trouble) == (1, 1, None)
    again, _ = keys(section(corp.url), tmp_path)
    assert again.issuer.keys == one.issuer.keys
    moved, _ = keys(section("http://127.0.0.1:9", "http://127.0.0.1:9/keys"), tmp_path)
    assert moved.issuer.keys == b""  # they are another's
    (tmp_path / "corp.json").write_text("nonsense")
    assert keys(section(corp.url), tmp_path)[0].issuer.keys == b""


def test_a_key_that_is_not_known_asks_once_in_a_while(corp: Issuer, tmp_path: Path) -> None:
    before = corp.asked().get("/keys", 0)

    async def wanted_often() -> None:
        changed = asyncio.Event()
        one = IssuerKeys("corp", section(corp.url), tmp_path, make_log("json", "error"), changed.set)
        async with asyncio.timeout(60):
            running = asyncio.create_task(one.run())
            await changed.wait()
            changed.clear()
            corp.rotate()
            for _ in range(1000):
                one.want()
            await changed.wait()
            running.cancel()

    asyncio.run(wanted_often())
    assert corp.asked()["/keys"] - before <= 3


ANSWERS: dict[str, tuple[int, bytes]] = {
    "/nonsense": (200, b"<html>"),
    "/list": (200, b'{"keys": 7}'),
    "/large": (200, b'{"keys": [' + b" " * 2_000_000 + b"]}"),
    "/away": (302, b""),
    "/empty": (200, b'{"keys": []}'),
    "/good": (200, json.dumps({"keys": [Signer("a").jwk()]}).encode()),
    "/.well-known/openid-configuration": (200, b'{"issuer": "https://other.example", "jwks_uri": "http://127.0.0.1/"}'),
}


class _Odd(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/good")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return  # what is too much is not read to its end

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nonsense", "no JWK Set"),
        ("/list", "no list of at most 100 keys"),
        ("/large", "too much"),
        ("/away", "answers 302"),
        (None, "is of the issuer 'https://other.example'"),
    ],
)
def test_what_makes_no_sense_leaves_the_keys_as_they_are(odd: str, path: str | None, says: str, tmp_path: Path) -> None:
    good, _ = keys(section(odd, f"{odd}/good"), tmp_path)
    asyncio.run(good.fetch())
    one, changes = keys(section(odd, path and odd + path), tmp_path)
    asyncio.run(one.fetch())
    assert says in str(one.trouble)
    assert (changes, one.issuer.keys) == ([], good.issuer.keys)


def test_an_issuer_that_takes_back_all_keys_is_followed(odd: str, tmp_path: Path) -> None:
    good, _ = keys(section(odd, f"{odd}/good"), tmp_path)
    asyncio.run(good.fetch())
    one, changes = keys(section(odd, f"{odd}/empty"), tmp_path)
    asyncio.run(one.fetch())
    assert (changes, one.describe()["keys"], one.trouble) == ([1], 0, None)


def test_nobody_is_asked_whom_anybody_could_answer_for(tmp_path: Path) -> None:
    one, _ = keys(section("https://id.example", "http://id.example/keys"), tmp_path)
    asyncio.run(one.fetch())
    assert "is no https:// address" in str(one.trouble)
