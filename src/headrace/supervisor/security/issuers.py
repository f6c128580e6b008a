"""The keys of OIDC issuers: fetched off the path of every request, kept on disk, and fetched again as they change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import security
from headrace.core.security.roles import Grant
from headrace.core.security.signatures import KeyRing
from headrace.core.security.tokens import Issuer
from headrace.security.asking import Unanswered, aside, ask
from headrace.telemetry.logs import Log

_WITHIN_S = 10.0
_EARLIEST_S = 5.0
_DISCOVERY = "/.well-known/openid-configuration"


class Discovery(msgspec.Struct, frozen=True):
    """What an issuer says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""


class IssuerKeys:
    """One issuer. `issuer` is what is to hold of it now; `on_change` is called when that changes.

    Where it does not answer the keys from before go on, those from before a restart, too, and `trouble` says so.
    """

    def __init__(
        self, name: str, section: security.Issuer, kept_in: Path, log: Log, on_change: Callable[[], None]
    ) -> None:
        self.name = name
        self.section = section
        self.trouble: str | None = None
        self._file = kept_in / f"{name}.json"
        self._log = log.bind(issuer=name)
        self._on_change = on_change
        self._fetched_s: float | None = None
        self._discovery: Discovery | None = None
        self._wanted = asyncio.Event()
        self.issuer = _issuer(name, section, self._kept())

    def want(self) -> None:
        """A token has a key that is not known: fetch the keys, though not more often than each five seconds."""
        self._wanted.set()

    async def run(self) -> None:
        """Fetch them now, and again and again."""
        while True:
            self._wanted.clear()
            await self.fetch()
            await asyncio.sleep(min(_EARLIEST_S, self.section.refresh_s))
            if self.trouble is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self.section.refresh_s - _EARLIEST_S)):
                        await self._wanted.wait()

    async def fetch(self) -> None:
        """Fetch them once; what is wrong is in `trouble` afterwards."""
        try:
            keys = await aside(self._ask)
        except Unanswered as error:
            if self.trouble is None:
                self._log.warning("keys of issuer not fetched", error=str(error), kept=f"{self._count} from before")
            self.trouble = f"its keys cannot be fetched ({error}); the {self._count} from before count on"
            return
        self._fetched_s, self.trouble = time.time(), None
        if keys != self.issuer.keys:
            self.issuer = _issuer(self.name, self.section, keys)
            self._log.info("keys of issuer changed", keys=self._count)
            await asyncio.to_thread(self._keep, keys)
            self._on_change()

    def describe(self) -> dict[str, Any]:
        """What operators are told of it."""
        told = {"name": self.name, "issuer": self.section.issuer, "keys": self._count}
        return {**told, "fetched": self._fetched_s, "trouble": self.trouble}

    async def discovered(self) -> Discovery:
        """The same as `discover`, asked for once. Raises Unanswered."""
        if self._discovery is None:
            self._discovery = await aside(self.discover)
        return self._discovery

    def discover(self) -> Discovery:
        """What the issuer says of itself; it waits. Raises Unanswered."""
        url = self.section.issuer.rstrip("/") + _DISCOVERY
        try:
            found = msgspec.json.decode(self._get(url), type=Discovery)
        except (ValueError, RecursionError) as error:
            raise Unanswered(f"{url}: {error}") from None
        if found.issuer != self.section.issuer:
            raise Unanswered(f"{url} is of the issuer {found.issuer!r}, not of {self.section.issuer!r}")
        return found

    @property
    def _count(self) -> int:
        return len(KeyRing(self.name, self.issuer.keys, ()))

    def _ask(self) -> bytes:
        url = self.section.jwks_url or self.discover().jwks_uri
        keys = self._get(url)
        try:
            ring = KeyRing(self.name, keys, self.section.algorithms)
        except ValueError as error:
            raise Unanswered(f"{url} has no JWK Set: {error}") from None
        if not len(ring):
            self._log.warning("issuer without keys", url=url, next="none of its tokens counts until it has public keys")
        return keys

    def _get(self, url: str) -> bytes:
        status, body = ask(url, within_s=_WITHIN_S, ca=self.section.ca)
        if status != 200:
            raise Unanswered(f"{url} answers {status}")
        return body

    def _keep(self, keys: bytes) -> None:
        """For the next start: it may be when the issuer is away."""
        kept = {"issuer": self.section.issuer, "keys": keys.decode("utf-8", "replace")}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(kept))
            new.replace(self._file)

    def _kept(self) -> bytes:
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
            keys = kept["keys"].encode() if kept.get("issuer") == self.section.issuer else b""
            KeyRing(self.name, keys, ())
        except (OSError, ValueError, KeyError, RecursionError):
            return b""
        return keys


def _issuer(name: str, section: security.Issuer, keys: bytes) -> Issuer:
    return Issuer(
        name=name,
        issuer=section.issuer,
        audiences=section.audiences,
        algorithms=section.algorithms,
        keys=keys,
        leeway_s=section.leeway_s,
        name_claim=section.name_claim,
        grants_claim=section.grants_claim or section.name_claim,
        grants=tuple(
            Grant(name=pattern, roles=allowed.roles, models=allowed.models)
            for pattern, allowed in section.grants.items()
        ),
        roles_claim=section.roles_claim,
        models_claim=section.models_claim,
    )
