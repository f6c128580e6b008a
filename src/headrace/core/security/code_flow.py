"""Signing in at an OIDC issuer by an authorization code with a proof key (OpenID Connect Core 3.1, RFC 7636).

Nothing is stored while the user is at the issuer. What is needed afterwards is in a cookie of the browser, with a MAC
that only this headrace can make. So users who never come back cost nothing.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from urllib.parse import urlencode

import msgspec

CHANCE_BYTES = 96
PATIENCE_S = 600.0


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has begun: the name of the issuer, where it sends the browser back to, and which page follows."""

    issuer: str
    redirect_uri: str
    next: str
    state: str
    nonce: str
    verifier: str
    until_s: float

    def __repr__(self) -> str:
        return f"<Flow with {self.issuer}>"


def begin(chance: bytes, issuer: str, redirect_uri: str, next_: str, now_s: float) -> Flow:
    """Begin a sign-in; takes 96 random bytes."""
    if len(chance) != CHANCE_BYTES:
        raise ValueError("96 bytes are needed")
    state, nonce, verifier = (_encoded(chance[at : at + 32]) for at in (0, 32, 64))
    return Flow(
        issuer=issuer,
        redirect_uri=redirect_uri,
        next=next_,
        state=state,
        nonce=nonce,
        verifier=verifier,
        until_s=now_s + PATIENCE_S,
    )


def authorization_url(endpoint: str, flow: Flow, client_id: str, scopes: tuple[str, ...]) -> str:
    """The URL at the issuer that the browser is sent to."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": flow.redirect_uri,
        "scope": " ".join(dict.fromkeys(("openid", *scopes))),
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": _encoded(sha256(flow.verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def seal(flow: Flow, secret: bytes) -> str:
    """The value of the cookie."""
    text = _encoded(msgspec.json.encode(flow))
    return f"{text}.{_encoded(_mac(text, secret))}"


def opened(cookie: str, secret: bytes, now_s: float) -> Flow | None:
    """The sign-in of a cookie; None if headrace has not made it or it is too old."""
    text, _, mac = cookie.partition(".")
    if not hmac.compare_digest(mac.encode("utf-8", "replace"), _encoded(_mac(text, secret)).encode()):
        return None
    try:
        flow = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Flow)
    except (binascii.Error, ValueError):
        return None
    return flow if now_s < flow.until_s else None


def own_path(asked: str) -> str:
    """`asked` where it is a path of this server, else the first page: nobody is sent elsewhere after signing in."""
    good = asked.startswith("/") and not asked.startswith(("//", "/\\", "/sign-")) and asked.isprintable()
    return asked if good and "\\" not in asked and len(asked) <= 2000 else "/"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _mac(text: str, secret: bytes) -> bytes:
    return hmac.digest(secret, text.encode("utf-8", "replace"), "sha256")
