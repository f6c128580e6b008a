"""Authentication: which grant the credentials of a request have, and what is allowed without credentials."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from headrace.core.security.keys import Key, KeyTable, token_of
from headrace.core.security.roles import NOBODY, Grant
from headrace.core.security.tokens import Issuer, Tokens
from headrace.core.security.untrusted import Untrusted


class Access(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All access rules. A new message replaces the one before as a whole.

    `grants` are for identities that certificates and a proxy vouch for: their `name` is a pattern, the first that fits
    holds. `anonymous` is the grant without credentials; `open_probes` lets probes be answered without credentials.
    `proxy_header` (lower case) is trusted from `proxy_addresses` (networks, such as ``10.0.0.0/8``) only. `issuers` are
    the issuers whose tokens are accepted.
    """

    keys: tuple[Key, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    grants: tuple[Grant, ...] = ()
    anonymous: Grant | None = None
    open_probes: bool = True
    proxy_header: str | None = None
    proxy_addresses: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Access keys={len(self.keys)} grants={len(self.grants)}>"


class Judge:
    """Authenticates requests by one `Access`."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._keys = KeyTable(access.keys)
        self._tokens = Tokens(access.issuers) if access.issuers else None
        self._networks = [ipaddress.ip_network(one) for one in access.proxy_addresses]

    @property
    def asks_peers(self) -> bool:
        """Whether the grant may depend on the connection (certificate, address), not on headers alone."""
        return bool(self.access.grants)

    def by_credentials(self, authorization: bytes, now_s: float) -> Grant:
        """The grant of the key or token in an Authorization header, now (Unix time). Raises Untrusted if not valid."""
        shown = token_of(authorization)
        key = self._keys.find(shown) if shown is not None else None
        if key is not None:
            return key.grant
        if shown is None or self._tokens is None or shown.count(b".") != 2:
            raise Untrusted("This key is not known here, or not any more.")
        return self._tokens.find(shown, now_s)

    def key_of(self, token: bytes) -> Key | None:
        """The key for `token`; None if there is none."""
        return self._keys.find(token)

    def holds(self, key: Key) -> bool:
        """Whether a key is still valid."""
        return self._keys.holds(key)

    def by_identity(self, identities: Iterable[str]) -> Grant | None:
        """The grant of the first of `identities` that is known; None if none is."""
        for identity in identities:
            for grant in self.access.grants:
                if fnmatchcase(identity, grant.name):
                    return msgspec.structs.replace(grant, name=identity)
        return None

    def trusts(self, address: str) -> bool:
        """Whether the header of the proxy is trusted from this address."""
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self._networks)

    def judge(self, authorization: bytes | None, identities: Iterable[str], now_s: float) -> Grant:
        """The grant of a request; `NOBODY` without credentials. Raises Untrusted for wrong ones."""
        if authorization is not None:
            return self.by_credentials(authorization, now_s)
        return self.by_identity(identities) or self.access.anonymous or NOBODY


def names_in(certificate: Any) -> list[str]:
    """The identities in a verified certificate (of `ssl.SSLSocket.getpeercert`): URIs, DNS names, the common name."""
    if not certificate:
        return []
    alternative = certificate.get("subjectAltName", ())
    names = [str(name) for kind, name in alternative if kind == "URI"]
    names += [str(name) for kind, name in alternative if kind == "DNS"]
    subject = [field for fields in certificate.get("subject", ()) for field in fields]
    return names + [str(value) for name, value in subject if name == "commonName"]
