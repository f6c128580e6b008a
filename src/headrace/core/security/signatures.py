"""The signing keys of an issuer, and the check of a token's signature (RFC 7515, RFC 7517)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from headrace.core.security.untrusted import UnknownKey, Untrusted

MOST_KEYS = 100
_FEWEST_BITS = 2048


class KeyRing:
    """The keys of the issuer that is called `name`: `keys` is its JWK Set as JSON, empty where it is not known.

    Public keys alone count, of RSA and elliptic curves, that are meant for signatures: whatever a token says of its
    algorithm, no text that everybody knows is a secret here (RFC 8725, 2.1). Raises ValueError for what is no JWK Set.
    """

    def __init__(self, name: str, keys: bytes, algorithms: tuple[str, ...]) -> None:
        self._name = name
        self._registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
        self._registry.max_header_length = 8 * 1024  # some put a certificate into it
        self._keys: dict[str | None, RSAKey | ECKey] = {}
        for one in _entries(keys) if keys else ():
            key = _public(one)
            if key is not None:
                kid = key.get("kid")
                self._keys[kid if isinstance(kid, str) else None] = key

    def __len__(self) -> int:
        return len(self._keys)

    def check(self, token: bytes, header: Mapping[str, Any]) -> None:
        """Raise Untrusted unless the token, whose header that is, was signed with one of the keys."""
        if header.get("alg") not in (self._registry.allowed or ()):
            raise Untrusted("This token is signed in a way that does not count here.")
        kid = header.get("kid")
        known = self._keys.get(kid) if isinstance(kid, str) else None
        if kid is None and len(self._keys) == 1:
            known = next(iter(self._keys.values()))
        if known is None:
            raise UnknownKey(self._name)
        if known.get("alg", header["alg"]) != header["alg"]:
            raise Untrusted("This token is signed in a way that its key is not for.")
        try:
            jws.deserialize_compact(token, known, registry=self._registry)
        except (JoseError, ValueError):
            raise Untrusted("This token was not signed by its issuer.") from None


def _entries(keys: bytes) -> list[dict[str, Any]]:
    try:
        document = msgspec.json.decode(keys, type=dict[str, Any])
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    found = document.get("keys")
    if not isinstance(found, list) or len(found) > MOST_KEYS or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"it has no list of at most {MOST_KEYS} keys")
    return found


def _public(one: dict[str, Any]) -> RSAKey | ECKey | None:
    """A key for checking signatures; None if it is of another kind or damaged: the others are still used."""
    if one.get("kty") not in {"RSA", "EC"} or one.get("use", "sig") != "sig" or "d" in one:
        return None
    try:
        key = JWKRegistry.import_key(one)
        if isinstance(key, RSAKey):
            return key if key.public_key.key_size >= _FEWEST_BITS else None
        return key if isinstance(key, ECKey) and key.public_key is not None else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
