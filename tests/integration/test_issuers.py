"""A whole server that takes tokens of an OIDC issuer, beside a real one with keys that it turns over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import Answer, Serving, ask, serving, until
from tests.integration.test_serve import HAPPY, config
from tests.issuer import Issuer, issuer
from tests.registries import place


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("issuers")


@pytest.fixture(scope="module")
def corp() -> Iterator[Issuer]:
    with issuer() as one:
        yield one


def settings(corp: Issuer) -> dict[str, Any]:
    return {
        "issuer": corp.url, "audiences": ["headrace"], "leeway_s": 0, "refresh_s": 1, "grants_claim": "groups",
        "grants": {
            "team-mood": {"roles": ["predict"], "models": ["mood"]},
            "readers": {"roles": ["read"]},
            "ops": {"roles": ["operate"]},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def one(registry: str, directory: Path, corp: Issuer) -> Iterator[Serving]:
    document = config(registry, mood={"uri": place(registry, "mood/1")})
    document["auth"] = {
        "issuers": {"corp": settings(corp)},
        "proxy": {"addresses": ["10.20.0.0/16"]},
        "grants": {"root": {"roles": ["admin"]}},
    }
    document["audit"] = "audit.jsonl"
    with serving(directory, document) as started:
        started.url("mood")
        started.event("keys of issuer changed")
        yield started


def predicted(one: Serving, token: str) -> Answer:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    return ask(f"{one.url('mood')}/invocations", HAPPY, headers=headers)


def admin(one: Serving, token: str, path: str = "/api/models", method: str = "GET") -> Answer:
    return ask(f"{one.admin}{path}", method=method, headers={"Authorization": f"Bearer {token}"})


def test_a_token_may_do_what_its_claims_say_on_every_port(one: Serving, corp: Issuer, directory: Path) -> None:
    team, reader, ops = (corp.token(groups=[group]) for group in ("team-mood", "readers", "ops"))
    for _ in range(2):  # the second time its head is known
        assert predicted(one, team).status == 200
        assert predicted(one, reader).status == 403
    assert admin(one, team).status == 403
    assert admin(one, reader).json["issuers"][0]["trouble"] is None
    assert admin(one, reader, "/api/models/mood/refresh", "POST").status == 403
    assert admin(one, ops, "/api/models/mood/refresh", "POST").status == 202
    assert '"who":"corp:alice"' in (directory / "audit.jsonl").read_text().replace(" ", "")  # before it was done
    nobody = corp.token(groups=["others"])
    assert (predicted(one, nobody).status, admin(one, nobody).status) == (403, 403)


def test_a_token_that_is_not_for_us_or_not_for_now_is_refused(one: Serving, corp: Issuer) -> None:
    now = time.time()
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 1},
        "not valid yet": {"nbf": now + 3600},
        "another audience": {"aud": "elsewhere"},
        "this issuer": {"iss": "https://id.example"},
    }
    for says, claims in wrong.items():
        token = corp.token(groups=["team-mood", "readers"], **claims)
        for answer in (predicted(one, token), admin(one, token)):
            assert (answer.status, answer.json["error_code"]) == (401, "UNAUTHENTICATED")
            assert says in answer.json["message"]
            assert "www-authenticate" in answer.headers
    with issuer() as other:  # of the right name, but with keys of its own
        forged = other.token(iss=corp.url, groups=["team-mood"])
        assert "not signed by its issuer" in predicted(one, forged).json["message"]


def test_nobody_on_this_machine_says_that_they_are_the_proxy(one: Serving) -> None:
    told = {
        "X-Forwarded-For": "10.20.0.1",
        "X-Real-IP": "10.20.0.1",
        "Forwarded": "for=10.20.0.1",
        "X-Forwarded-User": "root",
    }
    assert ask(f"{one.admin}/api/models", headers=told).status == 401
    assert ask(f"{one.url('mood')}/version", headers=told).status == 401


def test_a_token_ends_although_its_head_is_known(one: Serving, corp: Issuer) -> None:
    token = corp.token(groups=["team-mood"], exp=int(time.time()) + 3)
    until(lambda: predicted(one, token).status == 401, "the token to end")
    assert "expired" in predicted(one, token).json["message"]


def test_keys_that_are_turned_over_are_taken_as_they_are_met(one: Serving, corp: Issuer) -> None:
    old = corp.token(groups=["team-mood"])
    corp.rotate()
    new = corp.token(groups=["team-mood"])
    until(lambda: predicted(one, new).status == 200, "the new key")
    assert predicted(one, old).status == 200
    corp.rotate(keep=False)  # who has taken over a key of the issuer is shut out by its removal
    until(lambda: predicted(one, old).status == 401, "the former keys to be taken back")
    assert "is not known" in predicted(one, old).json["message"]
    assert predicted(one, new).status == 401
    assert predicted(one, corp.token(groups=["team-mood"])).status == 200


def test_the_keys_of_an_issuer_that_is_away_go_on_and_it_is_said(one: Serving, corp: Issuer, directory: Path) -> None:
    """The last one here: the issuer is not there afterwards."""
    team, reader = corp.token(groups=["team-mood"]), corp.token(groups=["readers"])
    until(lambda: predicted(one, team).status == 200, "the newest key")
    corp.stop()
    until(lambda: admin(one, reader).json["issuers"][0]["trouble"], "the trouble to be told")
    assert any("auth.issuers.corp: its keys cannot be fetched" in told for told in admin(one, reader).json["warnings"])
    assert predicted(one, team).status == 200
    one.event("keys of issuer not fetched")
    kept = (directory / "home" / "issuers" / "corp.json").read_text()
    assert corp.url in kept
