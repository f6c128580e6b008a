"""A sign-in at an issuer: what the browser is sent with, and what of it is believed when it comes back."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from headrace.core.security.code_flow import PATIENCE_S, Flow, authorization_url, begin, opened, own_path, seal

SECRET = b"s" * 32


def flow() -> Flow:
    return begin(bytes(range(96)), "corp", "https://here/sign-in/return", "/models/a", 100.0)


def test_the_issuer_is_asked_with_the_proof_of_a_key_that_it_does_not_see() -> None:
    one = flow()
    asked = {
        name: values[0]
        for name, values in parse_qs(
            urlsplit(authorization_url("https://id/a?x=1", one, "me", ("email",))).query
        ).items()
    }
    challenge = base64.urlsafe_b64encode(hashlib.sha256(one.verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked == {
        "x": "1", "response_type": "code", "client_id": "me", "redirect_uri": one.redirect_uri, "scope": "openid email",
        "state": one.state, "nonce": one.nonce, "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    assert len({one.state, one.nonce, one.verifier}) == 3
    assert 43 <= len(one.verifier) <= 128
    with pytest.raises(ValueError):
        begin(b"", "corp", "", "/", 0.0)


def test_what_was_begun_is_known_again_for_a_while_and_nothing_else_is() -> None:
    cookie = seal(flow(), SECRET)
    assert opened(cookie, SECRET, 100.0) == flow()
    assert opened(cookie, SECRET, 100.0 + PATIENCE_S) is None
    assert opened(cookie, b"t" * 32, 100.0) is None
    text, _, mac = cookie.partition(".")
    for forged in ("", ".", text, f"{text}x.{mac}", f"{text}.{mac[:-1]}", f"{text}.é", "é.é", f".{mac}"):
        assert opened(forged, SECRET, 100.0) is None
    assert flow().verifier not in repr(flow())


@pytest.mark.parametrize("path", ["/", "/models/a?x=1", "/models/%C3%A9", "/?q=//x"])
def test_who_has_signed_in_goes_to_the_page_that_was_asked_for(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "", "x", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example",
        "/\n/evil.example", "/a\\b", "/sign-out", "/sign-in", "/" + "x" * 3000, "\\\\evil.example", " //evil.example",
    ],
)  # fmt: skip
def test_nobody_is_sent_to_another_site_after_signing_in(elsewhere: str) -> None:
    assert own_path(elsewhere) == "/"
