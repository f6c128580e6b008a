"""What served when, and why it changed: a file of JSON lines for each model, kept across restarts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from headrace.config.places import make_room, replace_file
from headrace.core.identity import Resolved, safe_name

_MOST_ENTRIES = 1000
_SAME = ("event", "version", "reason", "alias")


class Memory(msgspec.Struct, kw_only=True):
    """What a model must know after a restart: what `core.rollout.rollout` knows by the same names, and `signature`.

    That is the one of the version that took over last, as MLflow writes it.
    """

    served: list[Resolved] = []
    pointed_at: Resolved | None = None
    held: Resolved | None = None
    sent_back: list[tuple[Resolved, str]] = []
    refused: list[tuple[Resolved, str]] = []
    ill: list[Resolved] = []
    paused: bool = False
    pinned: Resolved | None = None
    signature: dict[str, Any] | None = None


class _Entry(msgspec.Struct):
    """The fields that every entry has."""

    at: float
    event: str
    version: str
    reason: str


# As in `environments.store`: made before there are threads.
_memory = msgspec.json.Decoder(Memory)
_entry = msgspec.json.Decoder(_Entry)


Listener = Callable[[str, Mapping[str, Any]], None]


class History:
    """One model's past, below `home/history`. Losing it is harmless: nothing that serves depends on it.

    Another headrace with the same home may serve another `uri` by the same name: each has a past of its own.
    `listener` is told of each entry: the model, and the entry.
    """

    def __init__(self, home: Path, registry: str, uri: str, model: str, alias: str | None = None) -> None:
        self._origin = home, registry, uri, model
        self._alias = alias
        self.listener: Listener | None = None
        folder = home / "history"
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        origin = f"{registry}\0{uri}".encode()
        name = f"{model}-{hashlib.sha256(origin).hexdigest()[:12]}"
        self._entries = folder / f"{name}.jsonl"
        self._memory = folder / f"{name}{_marked(alias) if alias is not None else ''}.json"

    def of_alias(self, alias: str) -> History:
        """The history of another alias of the same model: its entries stand among the model's, marked with it."""
        other = History(*self._origin, alias)
        other.listener = self.listener
        return other

    def add(self, event: str, version: str, reason: str, **more: Any) -> None:
        """Append one entry.

        `event` is serving, failed, refused, rolled back, withdrawn, ended, step, paused, resumed or reloaded.
        """
        entry = {"at": round(time.time(), 3), "event": event, "version": version, "reason": reason, **more}
        if self._alias is not None:
            entry["alias"] = self._alias
        if self.listener is not None:
            self.listener(self._origin[3], entry)
        with contextlib.suppress(OSError):
            with self._open() as file:
                # A process that was killed may have left half a line: it must not swallow this one.
                end = file.seek(0, os.SEEK_END)
                whole = end == 0 or os.pread(file.fileno(), 1, end - 1) == b"\n"
                file.write((b"" if whole else b"\n") + msgspec.json.encode(entry) + b"\n")
            if self._entries.stat().st_size > _MOST_ENTRIES * 1024:
                kept = self._entries.read_bytes().splitlines(keepends=True)[-_MOST_ENTRIES // 2 :]
                replace_file(self._entries, b"".join(kept))

    def last(self, count: int = 50) -> list[dict[str, Any]]:
        """The newest entries, oldest first; lines that are none are left out.

        What failed again and again in the same way is one entry: `at` is the last time, `times` how often, `first_at`
        since when. It would otherwise push out everything else.
        """
        try:
            lines = self._entries.read_bytes().splitlines()
        except OSError:
            return []
        entries: list[dict[str, Any]] = []
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                _entry.decode(line)
                entry = msgspec.json.decode(line)
                before = entries[-1] if entries else {}
                if entry["event"] != "serving" and all(before.get(key) == entry.get(key) for key in _SAME):
                    first_at = before.get("first_at", before["at"])
                    entries[-1] = {**entry, "times": before.get("times", 1) + 1, "first_at": first_at}
                else:
                    entries.append(entry)
        return entries[-count:]

    def mark(self) -> tuple[int, int]:
        """Changes whenever `last` would say something else; reads no content."""
        try:
            found = self._entries.stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def remember(self, memory: Memory) -> None:
        """Keep what the next start needs."""
        with contextlib.suppress(OSError):
            replace_file(self._memory, msgspec.json.encode(memory))

    def recall(self) -> Memory:
        """What the last run kept; an empty memory where there is none."""
        try:
            return _memory.decode(self._memory.read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Memory()

    def _open(self) -> BinaryIO:
        """Open the entries; what is no file that can be written makes room for one. Raises OSError."""
        try:
            return self._entries.open("ab+")
        except (IsADirectoryError, FileNotFoundError, PermissionError):
            make_room(self._entries)
            self._entries.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._entries.open("ab+")


def _marked(alias: str) -> str:
    """An alias as the end of a file's name: of two that fold into one, each has its own."""
    folded = safe_name(alias)
    return f"@{folded}" if folded == alias else f"@{folded}-{hashlib.sha256(alias.encode()).hexdigest()[:8]}"
