"""Tokens of an issuer: which count, for how long, and what they allow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.core.security.access import Access, Judge
from headrace.core.security.roles import Grant
from headrace.core.security.signatures import KeyRing
from headrace.core.security.tokens import Issuer, Tokens, granted
from headrace.core.security.untrusted import UnknownKey, Untrusted
from tests.issuer import Signer, with_hmac

NOW_S = 1_800_000_000.0
EC, RSA, STRANGER = Signer("ec"), Signer("rsa", "RS256"), Signer("ec")
CLAIMS: dict[str, Any] = {"iss": "https://id.example", "aud": "headrace", "sub": "alice", "exp": NOW_S + 60}


def issuer(**changed: Any) -> Issuer:
    settings: dict[str, Any] = {
        "name": "id",
        "issuer": "https://id.example",
        "audiences": ("headrace",),
        "algorithms": ("RS256", "ES256"),
        "keys": json.dumps({"keys": [EC.jwk(), RSA.jwk()]}).encode(),
        "grants": (Grant(name="*", roles=("predict",)),),
    }
    return Issuer(**{**settings, **changed})


def found(token: str, now_s: float = NOW_S, **changed: Any) -> Grant:
    return Tokens([issuer(**changed)]).find(token.encode(), now_s)


def refused(token: str, now_s: float = NOW_S, **changed: Any) -> str:
    with pytest.raises(Untrusted) as error:
        found(token, now_s, **changed)
    return str(error.value)


@pytest.mark.parametrize("signer", [EC, RSA])
def test_a_token_says_who_asks_until_it_ends(signer: Signer) -> None:
    token = signer.sign(CLAIMS)
    assert found(token) == Grant(name="id:alice", roles=("predict",), until_s=NOW_S + 90)
    assert found(token, NOW_S + 89).name == "id:alice"
    assert "expired" in refused(token, NOW_S + 90)


def test_what_was_verified_is_not_verified_again_and_still_ends() -> None:
    tokens = Tokens([issuer()])
    token = EC.sign(CLAIMS).encode()
    first = tokens.find(token, NOW_S)
    assert tokens.find(token, NOW_S + 1) is first
    with pytest.raises(Untrusted, match="expired"):
        tokens.find(token, NOW_S + 90)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"exp": NOW_S - 30}, "expired"),
        ({"exp": None}, "how long it is valid"),
        ({"exp": "later"}, "how long it is valid"),
        ({"exp": True}, "how long it is valid"),
        ({"nbf": NOW_S + 31}, "not valid yet"),
        ({"nbf": "now"}, "how long it is valid"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["other", 7, {}]}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"iss": "https://id.example/"}, "this issuer"),
        ({"iss": ["https://id.example"]}, "this issuer"),
        ({"sub": None}, "'sub'"),
        ({"sub": ""}, "'sub'"),
        ({"sub": 7}, "'sub'"),
        ({"sub": "x" * 1000}, "'sub'"),
    ],
)
def test_what_a_token_says_must_be_for_us_and_for_now(changed: dict[str, Any], says: str) -> None:
    assert says in refused(EC.sign({name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}))


def test_audiences_may_be_several_and_clocks_may_differ() -> None:
    assert found(EC.sign({**CLAIMS, "aud": ["other", "headrace"]})).name == "id:alice"
    assert found(EC.sign({**CLAIMS, "aud": "second"}), audiences=("headrace", "second")).name == "id:alice"
    assert found(EC.sign({**CLAIMS, "nbf": NOW_S + 30})).name == "id:alice"
    assert "expired" in refused(EC.sign({**CLAIMS, "exp": NOW_S}), leeway_s=0.0)


def test_nothing_but_the_issuers_own_signature_counts() -> None:
    token = EC.sign(CLAIMS)
    head, claims, signature = token.split(".")
    assert "not signed by its issuer" in refused(STRANGER.sign(CLAIMS))
    assert "not signed by its issuer" in refused(
        f"{head}.{EC.sign({**CLAIMS, 'sub': 'root'}).split('.')[1]}.{signature}"
    )
    assert "not signed by its issuer" in refused(f"{head}.{claims}.")
    for algorithm in ("none", "None", "nOnE"):
        unsigned = EC.sign(CLAIMS, alg=algorithm).rpartition(".")[0] + "."
        assert "signed in a way" in refused(unsigned)
    for secret in (RSA.pem, json.dumps(RSA.jwk()).encode(), b"", RSA.jwk()["n"].encode()):
        assert "signed in a way" in refused(with_hmac(RSA.sign(CLAIMS), secret))
    assert "signed in a way" in refused(RSA.sign(CLAIMS, alg="PS256"))
    assert "signed in a way" in refused(RSA.sign(CLAIMS), algorithms=("ES256",))
    assert "signed in a way" in refused(EC.sign(CLAIMS, alg="RS256"))
    assert "not signed by its issuer" in refused(EC.sign(CLAIMS, crit=["exp"]))
    assert "says who asks" in refused(EC.sign(CLAIMS, typ="logout+jwt"))
    assert found(EC.sign(CLAIMS, typ="application/at+JWT", x5t="abc")).name == "id:alice"


def test_a_key_that_is_not_known_is_told_apart_for_it_may_be_new() -> None:
    with pytest.raises(UnknownKey) as error:
        found(Signer("new").sign(CLAIMS))
    assert error.value.issuer == "id"
    with pytest.raises(UnknownKey):
        found(EC.sign(CLAIMS, kid=None))  # two keys: it could be either
    with pytest.raises(UnknownKey):
        found(EC.sign(CLAIMS, kid=["ec"]))
    only = json.dumps({"keys": [EC.jwk()]}).encode()
    assert found(EC.sign(CLAIMS, kid=None), keys=only).name == "id:alice"
    with pytest.raises(UnknownKey):
        found(EC.sign(CLAIMS), keys=b"")


def test_keys_that_are_no_public_keys_for_signatures_do_not_count() -> None:
    good = EC.jwk()
    useless: list[dict[str, Any]] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, {**RSA.jwk(), "use": "enc"}, {**good, "d": "AAAA"},
        {**good, "x": 7},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-256"}, {"kty": "AKP", "alg": "ML-DSA-44"}, {},
    ]  # fmt: skip
    assert len(KeyRing("id", json.dumps({"keys": useless}).encode(), ("ES256",))) == 0
    assert len(KeyRing("id", json.dumps({"keys": [*useless, good]}).encode(), ("ES256",))) == 1
    for nonsense in (b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', b"{" * 100_000, b"\xff"):
        if nonsense:
            with pytest.raises(ValueError):
                KeyRing("id", nonsense, ("ES256",))


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "e30.e30.", "e30.W10.x", "..", "." * 50, "é.é.é", "e30.e30.e30"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(token)
    assert refused("a." + "b" * 20_000 + ".c")


def test_grants_by_claims_add_up_and_models_are_those_of_who_may_predict() -> None:
    grants = (
        Grant(name="risk-*", roles=("predict",), models=("risk-a", "risk-b")),
        Grant(name="ops", roles=("operate",), models=("*",)),
        Grant(name="root", roles=("admin",), models=("one",)),
    )

    def may(groups: Any) -> tuple[set[str], set[str]]:
        made = granted(issuer(grants_claim="groups", grants=grants), {"sub": "a", "groups": groups}, 1)
        return set(made.roles), set(made.models)

    assert may(["risk-team", "ops"]) == ({"predict", "operate"}, {"risk-a", "risk-b"})
    assert may(["root", "other"]) == ({"admin"}, {"one"})
    assert may("risk-x ops")[0] == {"predict", "operate"}
    assert may([]) == may(None) == may({"ops": 1}) == may([["ops"]]) == (set(), set())


def test_a_token_may_have_roles_and_models_itself() -> None:
    def may(claims: dict[str, Any], **changed: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        made = granted(issuer(grants=(), **changed), {"sub": "a", **claims}, 1)
        return made.roles, made.models

    paths = {"roles_claim": "realm_access.roles", "models_claim": "https://x.example/models"}
    claims = {"realm_access": {"roles": ["predict", "boss"]}, "https://x.example/models": ["a", "b-*"]}
    assert may(claims, **paths) == (("predict",), ("a", "b-*"))
    assert may({"realm_access": {"roles": ["predict"]}}, **paths) == (("predict",), ())
    assert may({"roles": "read operate"}, roles_claim="roles") == (("read", "operate"), ())
    assert may({"roles": ["admin"]}, roles_claim="roles") == (("admin",), ("*",))
    assert may({}, roles_claim="roles") == ((), ())


def test_keys_and_tokens_are_judged_side_by_side() -> None:
    judge = Judge(Access(issuers=(issuer(),)))
    shown = f"Bearer {EC.sign(CLAIMS)}".encode()
    assert judge.judge(shown, [], NOW_S).name == "id:alice"
    with pytest.raises(Untrusted, match="key is not known"):
        judge.judge(b"Bearer hr_wrong", [], NOW_S)
    assert EC.jwk()["x"] not in repr(Access(issuers=(issuer(),)))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.core.security.tokens._MOST_VERIFIED", 3)
    tokens = Tokens([issuer()])
    for number in range(6):
        tokens.find(EC.sign({**CLAIMS, "jti": number}).encode(), NOW_S)
        assert len(tokens._verified) <= 3
    tokens.find(EC.sign({**CLAIMS, "exp": NOW_S + 7200}).encode(), NOW_S + 3600)
    assert len(tokens._verified) == 1
