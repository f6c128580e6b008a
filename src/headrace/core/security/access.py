"""Who somebody is, by what they have shown; and what is open to those who have shown nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from headrace.core.security.keys import Key, KeyTable, token_of
from headrace.core.security.roles import NOBODY, Grant


class Access(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All that decides who may do what: a whole state, which takes the place of the one before.

    `grants` are for identities that certificates and a proxy vouch for: their `name` is a pattern, the first that fits
    holds. `anonymous` is what those may who show nothing, `open_probes` whether they are told if models are ready.
    `proxy_header` (lower case) is believed from `proxy_addresses` (networks, such as ``10.0.0.0/8``) alone.
    """

    keys: tuple[Key, ...] = ()
    grants: tuple[Grant, ...] = ()
    anonymous: Grant | None = None
    open_probes: bool = True
    proxy_header: str | None = None
    proxy_addresses: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Access keys={len(self.keys)} grants={len(self.grants)}>"


class Judge:
    """Says who somebody is, by one `Access`."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._keys = KeyTable(access.keys)
        self._networks = [ipaddress.ip_network(one) for one in access.proxy_addresses]

    @property
    def asks_peers(self) -> bool:
        """Whether who somebody is may depend on their connection, and not on what they send alone."""
        return bool(self.access.grants)

    def by_key(self, authorization: bytes) -> Grant | None:
        """Whose key an Authorization header holds; None: nobody's, and then nothing else counts either."""
        token = token_of(authorization)
        key = self._keys.find(token) if token is not None else None
        return key.grant if key is not None else None

    def by_identity(self, identities: Iterable[str]) -> Grant | None:
        """What the first of `identities` that is known may do; None: none is."""
        for identity in identities:
            for grant in self.access.grants:
                if fnmatchcase(identity, grant.name):
                    return msgspec.structs.replace(grant, name=identity)
        return None

    def trusts(self, address: str) -> bool:
        """Whether the proxy's header counts from this address."""
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self._networks)

    def judge(self, authorization: bytes | None, identities: Iterable[str] = ()) -> Grant | None:
        """Who it is: `NOBODY` for who has shown nothing that counts, None for who has shown what is wrong."""
        if authorization is not None:
            return self.by_key(authorization)
        return self.by_identity(identities) or self.access.anonymous or NOBODY


def names_in(certificate: Any) -> list[str]:
    """Who a verified certificate (as `ssl.SSLSocket.getpeercert` gives it) is for: URIs, DNS names, the common name."""
    if not certificate:
        return []
    alternative = certificate.get("subjectAltName", ())
    names = [str(name) for kind, name in alternative if kind == "URI"]
    names += [str(name) for kind, name in alternative if kind == "DNS"]
    subject = [field for fields in certificate.get("subject", ()) for field in fields]
    return names + [str(value) for name, value in subject if name == "commonName"]
