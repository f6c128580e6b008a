"""Tokens (JWT) of OIDC issuers: whether they are valid, and what they allow (RFC 7519, RFC 8725)."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, TypeGuard

import msgspec

from headrace.core.security.roles import ROLES, Grant, Role
from headrace.core.security.untrusted import Untrusted

_LONGEST_TOKEN = 16 * 1024
_LONGEST_NAME = 200
_MOST_VERIFIED = 10_000
_NEITHER = "This is neither a key that is known here nor a token (JWT)."
# RFC 9068 for access tokens; ID tokens have JWT, or nothing. Others, such as logout tokens, do not say who asks.
_TYPES = frozenset({"", "jwt", "at+jwt"})


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens count, and what they mean. `keys` is the issuer's JWK Set, as JSON; empty: it is not known yet.

    `grants` hold for who has a value in `grants_claim` that fits their `name`, a pattern; all that fit count.
    `roles_claim` and `models_claim` have roles and models in the token itself; None: they have not.
    """

    name: str
    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    keys: bytes = b""
    leeway_s: float = 30.0
    name_claim: str = "sub"
    grants_claim: str = "sub"
    grants: tuple[Grant, ...] = ()
    roles_claim: str | None = None
    models_claim: str | None = None


class Verifier:
    """Verifies the tokens of one issuer."""

    def __init__(self, issuer: Issuer) -> None:
        # Only where there are issuers: it loads what 20 MB of memory are needed for.
        from headrace.core.security.signatures import KeyRing  # noqa: PLC0415

        self.issuer = issuer
        self._ring = KeyRing(issuer.name, issuer.keys, issuer.algorithms)

    def until_s(self, token: bytes, header: Mapping[str, Any], claims: Mapping[str, Any], now_s: float) -> float:
        """Until when (Unix time) a token with this header and these claims is valid. Raises Untrusted."""
        if claims.get("iss") != self.issuer.issuer:
            raise Untrusted("Tokens of this issuer do not count here.")
        self._ring.check(token, header)
        if str(header.get("typ", "")).lower().removeprefix("application/") not in _TYPES:
            raise Untrusted("This token is not one that says who asks.")
        return _valid_until_s(self.issuer, claims, now_s)


class Tokens:
    """Finds the grant of a token. A verified token is remembered until it expires: its signature is checked once."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._verifiers = {one.issuer: Verifier(one) for one in issuers}
        self._verified: dict[bytes, Grant] = {}

    def find(self, token: bytes, now_s: float) -> Grant:
        """The grant of `token`, valid until `Grant.until_s`; `now_s` is a Unix time. Raises Untrusted."""
        digest = sha256(token).digest()
        grant = self._verified.get(digest)
        if grant is None or grant.until_s is None or now_s >= grant.until_s:
            grant = self._verify(token, now_s)
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified = {of: one for of, one in self._verified.items() if now_s < (one.until_s or 0.0)}
            if len(self._verified) >= _MOST_VERIFIED:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = grant
        return grant

    def _verify(self, token: bytes, now_s: float) -> Grant:
        header, claims = parts_of(token)
        verifier = self._verifiers.get(str(claims.get("iss", "")))
        if verifier is None:
            raise Untrusted("Tokens of this issuer do not count here.")
        return granted(verifier.issuer, claims, verifier.until_s(token, header, claims, now_s))


def parts_of(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, claims) of a token, not verified yet. Raises Untrusted if it is no token."""
    parts = token.split(b".")
    if len(parts) != 3 or len(token) > _LONGEST_TOKEN:
        raise Untrusted(_NEITHER)
    return _json(parts[0]), _json(parts[1])


def granted(issuer: Issuer, claims: Mapping[str, Any], until_s: float) -> Grant:
    """The grant by the claims of a valid token. Raises Untrusted if they do not name its subject."""
    name = _claim(claims, issuer.name_claim)
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME:
        raise Untrusted(f"This token does not say who it is for, in its claim {issuer.name_claim!r}.")
    values = _texts(_claim(claims, issuer.grants_claim))
    fitting = [one for one in issuer.grants if any(fnmatchcase(value, one.name) for value in values)]
    if issuer.roles_claim is not None:
        claimed = _texts(_claim(claims, issuer.roles_claim))
        roles: tuple[Role, ...] = tuple(role for role in ROLES if role in claimed)
        models = ("*",) if issuer.models_claim is None else tuple(_texts(_claim(claims, issuer.models_claim)))
        fitting.append(Grant(name="", roles=roles, models=models))
    return Grant(
        name=f"{issuer.name}:{name}",
        roles=tuple(dict.fromkeys(role for one in fitting for role in one.roles)),
        # Of models only `predict` speaks: what it holds for does not grow by other roles.
        models=tuple(dict.fromkeys(model for one in fitting if one.has("predict") for model in one.models)),
        until_s=until_s,
    )


def _valid_until_s(issuer: Issuer, claims: Mapping[str, Any], now_s: float) -> float:
    """When it expires, with the leeway. Raises Untrusted if its audience or its time is not right."""
    told = claims.get("aud")
    if not any(audience in issuer.audiences for audience in (told if isinstance(told, list) else [told])):
        raise Untrusted("This token is for another audience.")
    ends_s, begins_s = claims.get("exp"), claims.get("nbf", 0)
    if not _is_number(ends_s) or not _is_number(begins_s):
        raise Untrusted("This token does not say how long it is valid.")
    if now_s >= ends_s + issuer.leeway_s:
        raise Untrusted("This token has expired; get another from its issuer.")
    if now_s < begins_s - issuer.leeway_s:
        raise Untrusted("This token is not valid yet.")
    return float(ends_s + issuer.leeway_s)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(part: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Untrusted(_NEITHER)
    return found


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its path (``realm_access.roles``) where there is none of that name."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _texts(value: Any) -> list[str]:
    """The values of a claim; a text has them with spaces between, as `scope` does."""
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
