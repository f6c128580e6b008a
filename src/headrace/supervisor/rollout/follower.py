"""Asks the registry what a URI points to, at intervals and on request, and reports the answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from headrace.core.errors import HeadraceError, ModelNotFound, RegistryError, UsageError
from headrace.core.identity import ModelUri, Resolved
from headrace.supervisor.rollout.dependencies import Registry
from headrace.supervisor.rollout.status import RegistryContact
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.spreading import spread_s
from headrace.telemetry.logs import Log


class Listener(Protocol):
    """The receiver of the answers."""

    @property
    def is_new(self) -> bool:
        """Whether nothing has served here, now or before a restart: a URI that leads nowhere is then a mistake."""

    @property
    def candidate(self) -> Version | None:
        """The version that is being brought up."""

    @property
    def serving(self) -> Version | None:
        """The version that serves."""

    def pointed(self, resolved: Resolved) -> None:
        """The registry points at this version."""

    def unreachable(self) -> None:
        """The registry cannot be asked."""

    def absent(self, why: str) -> bool:
        """There is no such alias; False where that changes nothing: what serves goes on serving."""

    def broke(self, what: str, error: Exception) -> None:
        """An error of headrace's own happened."""


class RegistryFollower:
    """`contact` says whether the registry can be asked. `poll_s` None: ask at the start and after `ask_now` only."""

    def __init__(self, uri: ModelUri, registry: Registry, poll_s: float | None, listener: Listener, log: Log) -> None:
        self.contact = RegistryContact()
        self._uri = uri
        self._registry = registry
        self._poll_s = poll_s
        self._listener = listener
        self._log = log
        self._now = asyncio.Event()

    def configure(self, poll_s: float | None) -> None:
        """Ask at these intervals, beginning with a question now where they are others."""
        if poll_s != self._poll_s:
            self._poll_s = poll_s
            self._now.set()

    def ask_now(self) -> None:
        """Ask the registry now instead of at the next interval."""
        self._now.set()

    async def run(self) -> None:
        """Follow the URI until cancelled.

        Raises UsageError (ModelNotFound) when the first answer of the registry shows that the URI is wrong.
        """
        first = True
        while True:
            self._now.clear()
            try:
                first = not await self._ask(first=first) and first
            except HeadraceError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever happens here, what serves goes on serving
                self._listener.broke("asking the registry failed", error)
            self.contact.asked = True
            watching = self._uri.moves or first
            poll_s = self._poll_s if watching else None
            delay_s = None if poll_s is None else spread_s(poll_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._now.wait()

    async def _ask(self, *, first: bool) -> bool:
        """Ask once and tell the answer; False where the registry could not be asked, or knows nothing."""
        listener = self._listener
        try:
            resolved = await self._registry.resolve(self._uri.text, patient=listener.candidate is None)
        except RegistryError as error:
            self._lost(str(error))
            return False
        except (ModelNotFound, UsageError) as error:
            if first and listener.is_new:
                raise
            if isinstance(error, ModelNotFound) and listener.absent(str(error)):
                self._reached()
            else:
                # It has led somewhere before: whoever deleted the alias did not mean to stop what serves.
                self._lost(str(error))
            return False
        self._reached()
        listener.pointed(resolved)
        return True

    def _lost(self, why: str) -> None:
        contact = self.contact
        if why != contact.problem:
            kept = self._listener.serving or self._listener.candidate
            self._log.warning("registry problem", reason=why, kept=kept.label if kept else None)
        contact.problem, contact.lost_s = why, contact.lost_s or time.time()
        self._listener.unreachable()

    def _reached(self) -> None:
        contact = self.contact
        if contact.problem:
            self._log.info("registry reached again", away_s=round(time.time() - (contact.lost_s or 0), 1))
        contact.problem, contact.lost_s = "", None
