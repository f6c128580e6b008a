"""The audit file: what was changed, by whom and from where. Each line is on the disk before its change is made."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import fcntl
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headrace import __version__
from headrace.config.tree import Config
from headrace.core.admin.audit import Broken, NoEntry, Seen, continued, end_of, seal
from headrace.core.errors import ConfigError, UsageError
from headrace.telemetry.logs import Log

_TAIL_BYTES = 1 << 20
_PATH = "audit"


class NotAudited(UsageError):
    """The audit file cannot be written to, so nothing was changed."""

    code = "TEMPORARILY_UNAVAILABLE"


class AuditFile:
    """Appends entries in the order in which they are asked for, in a thread of its own.

    `trouble` is why the last entry could not be written, or None. The log has the number and the hash of each entry:
    a log that is kept elsewhere shows whether one was removed. The file is locked: two headraces cannot share it.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self.path = path
        self.trouble: str | None = None
        self._log = log
        self._fd = -1
        self._last = Seen()
        self._torn: list[bytes] = []
        self._writer = ThreadPoolExecutor(1, "audit")

    def open(self) -> None:
        """Open and lock the file, and continue its chain. Raises ConfigError with what is wrong and what to do."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(_PATH, f"{self.path} cannot be written to: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(_PATH, f"{self.path} is another headrace's: give each its own") from None
        try:
            self._look_at_the_end()
        except Broken as error:
            says = f"{self.path} {error}; see `headrace audit verify {self.path}`, and move the file away"
            raise ConfigError(_PATH, says) from None

    def note(self, what: str, entry: Mapping[str, Any]) -> Future[int]:
        """Append an entry; returns its number, when it is on the disk. What cannot be written is logged."""
        whole = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "what": what, **entry}
        return self._writer.submit(self._append, whole)

    def note_entry(self, model: str, entry: Mapping[str, Any]) -> None:
        """Append an entry of a model's history."""
        self.note(entry["event"], {"model": model, **{key: entry[key] for key in entry if key not in {"at", "event"}}})

    def note_keys(self, change: Mapping[str, Sequence[str]]) -> None:
        """Append which keys were added and removed."""
        self.note("keys changed", change)

    async def record(self, what: str, entry: Mapping[str, Any]) -> int:
        """Append an entry and wait until it is on the disk; returns its number. Raises NotAudited where that fails."""
        try:
            return await asyncio.wrap_future(self.note(what, entry))
        except OSError as error:
            raise NotAudited(f"nothing was changed: the audit file cannot be written to ({error.strerror})") from None

    def close(self) -> None:
        """Append that headrace ends, and unlock the file."""
        self.note("stopped", {})
        self._writer.shutdown()
        if self._fd >= 0:
            os.close(self._fd)

    def _append(self, entry: Mapping[str, Any]) -> int:
        try:
            if self._torn:
                self._write({"at": entry["at"], **continued(self._torn)})
                self._torn = []
            self._write(entry)
        except OSError as error:
            if self.trouble is None:
                self._log.error("not audited", what=entry["what"], file=str(self.path), error=error.strerror)
            self.trouble = f"{self.path} cannot be written to: {error.strerror}"
            raise
        self.trouble = None
        self._log.info("audited", what=entry["what"], number=self._last.number, sha256=self._last.sha256)
        return self._last.number

    def _write(self, entry: Mapping[str, Any]) -> None:
        line, last = seal(entry, self._last)
        size = os.fstat(self._fd).st_size
        whole = size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"
        data = line if whole else b"\n" + line
        try:
            _write_whole(self._fd, data)
            os.fdatasync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):  # it may be one that can only grow
                os.ftruncate(self._fd, size)
            with contextlib.suppress(Broken, OSError):
                self._look_at_the_end()
            raise
        self._last = last

    def _look_at_the_end(self) -> None:
        """Find the last entry, and incomplete lines that a crash or a full disk has left after it. Raises Broken."""
        size = os.fstat(self._fd).st_size
        at = max(0, size - _TAIL_BYTES)
        lines = os.pread(self._fd, size - at, at).removesuffix(b"\n").split(b"\n")
        if size == 0:
            self._last, self._torn = Seen(), []
            return
        try:
            self._last, self._torn = end_of(lines)
        except NoEntry:
            if at:
                raise
            self._last, self._torn = Seen(), lines  # the very first was cut off


def open_audit(config: Config, log: Log) -> AuditFile | None:
    """The audit file of a headrace that starts; None where none is kept. Raises ConfigError."""
    if config.audit is None:
        return None
    file = AuditFile(config.audit, log)
    file.open()
    file.note("started", {"version": __version__, "models": sorted(config.models)})
    return file


def _write_whole(fd: int, data: bytes) -> None:
    """Write everything in one call. Raises OSError, also if only a part was written: the disk is full then."""
    if os.write(fd, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
