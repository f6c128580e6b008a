"""Who may do what: from the configuration and the files of keys to those who decide, again as the files change."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config.security import Allowed, Auth
from headrace.core.errors import ConfigError
from headrace.core.security import keys
from headrace.core.security.access import Access, Judge
from headrace.core.security.attempts import Attempts
from headrace.core.security.keys import BadKeys, Key
from headrace.core.security.roles import Grant
from headrace.core.security.sessions import Sessions
from headrace.telemetry.logs import Log

if TYPE_CHECKING:
    from headrace.supervisor.security.issuers import IssuerKeys

_LOOK_S = 2.0
_LARGEST_BYTES = 64 * 1024 * 1024
_PATH = "auth.keys"


class AccessRules:
    """`on_change` is told of each state that holds from now on, `on_keys` which keys (name and id) came and went.

    `trouble` is what is wrong with the files, or None. `judge` decides by the newest one. `own_token` is a key that is
    written nowhere: the try box asks with it. `refused` counts what the admin port refuses, by why. `issuers` are those
    whose tokens count; their keys are kept below `home`. `sessions` are of people who have signed in, `attempts` of who
    tried to; `secret` seals what their browsers keep in the meantime.
    """

    def __init__(
        self,
        auth: Auth,
        log: Log,
        on_change: Callable[[Access], None],
        on_keys: Callable[[Mapping[str, list[str]]], None],
        home: Path,
    ) -> None:
        self.trouble: str | None = None
        self.refused = {"missing": 0, "wrong": 0, "forbidden": 0}
        self.judge: Judge
        chance = os.urandom(keys.ID_BYTES + keys.SALT_BYTES + keys.SECRET_BYTES)
        self._own, self.own_token = keys.make(chance, Grant(name="dashboard"))
        self._auth = auth
        self._log = log
        self._on_change = on_change
        self._on_keys = on_keys
        self._files: dict[str, bytes] = {}
        self._keys: list[Key] = []
        self._held: list[Key] = []
        self.sessions = Sessions(idle_s=auth.sign_in.idle_s, longest_s=auth.sign_in.longest_s)
        self.attempts = Attempts()
        self.secret = os.urandom(32)
        self.issuers: Sequence[IssuerKeys] = ()
        if auth.issuers:
            from headrace.supervisor.security.issuers import IssuerKeys  # noqa: PLC0415 - what signatures need takes 20 MB

            kept_in = home / "issuers"
            self.issuers = [IssuerKeys(n, one, kept_in, log, self._decide) for n, one in auth.issuers.items()]

    def load(self) -> None:
        """Read the files for the first time; raises ConfigError with what is wrong, and where."""
        if self._auth.keys is not None:
            self._files = _read(self._auth.keys)
            self._keys = _parse(self._files)
        self._decide()

    async def run(self) -> None:
        """Look at the files and ask the issuers again and again; keys that expire are taken out as they do."""
        async with asyncio.TaskGroup() as tasks:
            for issuer in self.issuers:
                tasks.create_task(issuer.run())
            while self._auth.keys is not None:
                await asyncio.sleep(_LOOK_S)
                await self._look(self._auth.keys)
                if self._valid() != self._held:
                    self._decide()

    def want_keys(self, issuer: str) -> None:
        """A token of the issuer of this name is signed with a key that is not known."""
        for one in self.issuers:
            if one.name == issuer:
                one.want()

    async def _look(self, where: Path) -> None:
        try:
            files = await asyncio.to_thread(_read, where)
            if files != self._files:
                found = await asyncio.to_thread(_parse, files)
                gone = [key for key in self._keys if key not in found]
                come = [key for key in found if key not in self._keys]
                self._files, self._keys = files, found
                self._log.info("keys changed", keys=len(found), gone=[key.id for key in gone[:20]])
                self._on_keys({"come": [_named(key) for key in come], "gone": [_named(key) for key in gone]})
        except ConfigError as error:
            if self.trouble != str(error):
                self.trouble = str(error)
                self._log.warning("keys not taken", error=self.trouble, kept=f"the {len(self._keys)} keys from before")
            return
        self.trouble = None

    def _valid(self) -> list[Key]:
        now_s = time.time()
        return [key for key in self._keys if key.expires_s is None or now_s < key.expires_s]

    def _decide(self) -> None:
        auth = self._auth
        self._held = self._valid()
        access = Access(
            keys=(*self._held, self._own),
            issuers=tuple(one.issuer for one in self.issuers),
            grants=tuple(_grant(name, allowed) for name, allowed in auth.grants.items()),
            anonymous=_grant("anonymous", auth.anonymous) if auth.anonymous is not None else None,
            open_probes=auth.probes == "open",
            proxy_header=auth.proxy.header.lower() if auth.proxy is not None else None,
            proxy_addresses=auth.proxy.addresses if auth.proxy is not None else (),
        )
        self.judge = Judge(access)
        self._on_change(access)


def _named(key: Key) -> str:
    return f"{key.grant.name} ({key.id})"


def _grant(name: str, allowed: Allowed) -> Grant:
    return Grant(name=name, roles=allowed.roles, models=allowed.models)


def _read(where: Path) -> dict[str, bytes]:
    """The files and what they hold; a mounted Secret's own directories and links (``..data``) are left out."""
    try:
        files = sorted(one for one in where.iterdir() if not one.name.startswith(".")) if where.is_dir() else [where]
        found = {str(file): file.read_bytes() for file in files if not file.is_dir()}
    except OSError as error:
        told = f"{error.filename or where} cannot be read: {error.strerror}; `headrace key create` writes such a file"
        raise ConfigError(_PATH, told) from None
    if sum(map(len, found.values())) > _LARGEST_BYTES:
        raise ConfigError(_PATH, f"{where} holds too much to be keys")
    return found


def _parse(files: dict[str, bytes]) -> list[Key]:
    found: dict[str, Key] = {}
    for file, data in files.items():
        try:
            parsed = keys.parse(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise ConfigError(_PATH, f"{file} is no text") from None
        except BadKeys as error:
            raise ConfigError(_PATH, f"{file}: {error}") from None
        for key in parsed:
            if key.id in found:
                raise ConfigError(_PATH, f"{file}: the id {key.id} of {key.grant.name!r} stands there twice")
            found[key.id] = key
    return [*found.values()]
