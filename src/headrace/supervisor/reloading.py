"""Reloads the configuration file: what it would change, and the change itself.

The whole file is read and checked before anything is done. A mistake in it changes nothing, is reported to the caller,
and stays in the status until the next good reload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headrace.config.changes import Plan, describe, plan
from headrace.config.tree import Config
from headrace.core.errors import HeadraceError, UsageError
from headrace.supervisor.rollout.history import History, Listener
from headrace.telemetry.logs import Log

_MOST_TOLD = 50


@dataclass(frozen=True)
class Source:
    """Where the configuration comes from: `load` reads it with what the command line says above it. See `load_file`."""

    file: Path
    load: Callable[[], Config]


class NotReloaded(UsageError):
    """Nothing has been changed; says why."""

    code = "CONFLICT"


class Running(Protocol):
    """The supervisor, as the object of a reload."""

    @property
    def config(self) -> Config:
        """The present configuration."""

    async def become(self, config: Config, made: Plan) -> None:
        """Change to this configuration. Raises HeadraceError if that fails; then nothing was changed."""

    def note(self, name: str, reason: str) -> None:
        """Add to the history of a model that its settings have changed."""


class Reloads:
    """Reloads, one at a time. `source` None: there is no file. `problem` is the error of the last reload, or empty."""

    def __init__(self, source: Source | None, running: Running, log: Log) -> None:
        self.problem = ""
        self.history: History | None = None
        self._source = source
        self._running = running
        self._log = log
        self._turn = asyncio.Lock()
        self._last: dict[str, Any] | None = None

    @property
    def file(self) -> Path | None:
        """The file; None where there is none."""
        return self._source.file if self._source is not None else None

    def remember(self, home: Path, registry_key: str, listener: Listener | None) -> None:
        """Keep a history of the reloads below `home`; `listener` gets each entry. Does nothing without a file."""
        if self.file is not None:
            self.history = History(home, registry_key, f"file:{self.file.absolute()}", "@reloads")
            self.history.listener = listener

    def describe(self) -> dict[str, Any]:
        """The file, what is wrong with it, and the last reload (`at` in Unix seconds), as data."""
        return {"file": str(self.file) if self.file else None, "problem": self.problem or None, "last": self._last}

    def past(self) -> list[dict[str, Any]]:
        """The reloads of this file, the oldest first. Reads a file."""
        return self.history.last() if self.history is not None else []

    async def compare(self) -> dict[str, Any]:
        """What the file would change now, as data; `problem` is why it cannot be had. Raises NotReloaded: no file."""
        told: dict[str, Any] = {"file": str(self._its().file), "problem": None, "changes": []}
        try:
            after, made = await self._look()
        except UsageError as error:
            return {**told, "problem": str(error)}
        refused = _refusal(made)
        return {**told, "problem": refused or None, "changes": describe(made, self._running.config, after)}

    async def reload(self, who: str) -> dict[str, Any]:
        """Read the file and change to it; returns the changes as data.

        Models that it needs are brought up afterwards. Raises HeadraceError, with the reason, if nothing was changed.
        """
        self._its()
        async with self._turn:
            try:
                after, made = await self._look()
                refused = _refusal(made)
                if refused:
                    raise NotReloaded(refused)
                changes = describe(made, self._running.config, after)
                if made.changes:
                    await self._running.become(after, made)
            except HeadraceError as error:
                self._refused(str(error), who)
                raise
            self._done(made, changes, who)
            return {"file": str(self.file), "changes": changes}

    async def _look(self) -> tuple[Config, Plan]:
        after = await asyncio.to_thread(self._its().load)
        return after, plan(self._running.config, after)

    def _its(self) -> Source:
        if self._source is None:
            raise NotReloaded("headrace was started with -m, without a file: there is nothing to reload")
        return self._source

    def _refused(self, why: str, who: str) -> None:
        self.problem = why
        self._last = {"at": time.time(), "by": who, "ok": False, "changes": 0}
        self._log.error("not reloaded", by=who, reason=why, kept="everything as it was")
        if self.history is not None:
            self.history.add("refused", "", f"{why}; by {who}")

    def _done(self, made: Plan, changes: list[dict[str, Any]], who: str) -> None:
        self.problem = ""
        self._last = {"at": time.time(), "by": who, "ok": True, "changes": len(changes)}
        told = [_in_words(one) for one in changes[:_MOST_TOLD]]
        self._log.info("reloaded", by=who, count=len(changes), changes=told)
        if self.history is not None:
            self.history.add("reloaded", "", f"{'; '.join(told) or 'nothing has changed'}; by {who}")
        for name in made.live | made.beside | made.added:
            own = [_in_words(one) for one in changes if _is_about(one, name)]
            self._running.note(name, f"{'; '.join(own)}; by {who}")


def _refusal(made: Plan) -> str:
    """The changes of a plan that cannot be made, as a message; empty if all can."""
    if not made.refused:
        return ""
    names = ", ".join(change.setting for change in made.refused)
    return f"{names}: cannot change while headrace runs; nothing was changed: restart it, or take that back"


def _is_about(change: dict[str, Any], name: str) -> bool:
    setting = str(change["setting"])
    return setting == f"models.{name}" or setting.startswith(f"models.{name}.") or name in change["models"]


def _in_words(change: dict[str, Any]) -> str:
    before, after = (("-" if change[key] is None else change[key]) for key in ("before", "after"))
    return f"{change['setting']}: {before} -> {after}"
