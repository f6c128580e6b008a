"""The prediction logs: JSON lines as they come, finished files by size and age, in Parquet where that is asked for.

A Parquet file is worth nothing until its last byte is there, so none is written to: entries go to JSON lines, which
survive any death, and a finished file is turned into Parquet under another name and renamed. What a recorder that was
killed has left is found and finished by the next. Writing and converting fail each for itself: a file that cannot be
converted keeps no entry from the next file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

import msgspec

from headrace.core.protocol.records import PredictionLog, Record
from headrace.recorder.entries import entry
from headrace.recorder.files import bad_file, bad_files, closed_files, current_file, next_file

_WRITE_BYTES = 1 << 20
_RETRY_S = 1.0
_MOST_RETRY_S = 60.0


class PredictionWriter:
    """All models' logs. `logs` "*" is for models that have none of their own; `tell` reports to the supervisor."""

    held = 0

    def __init__(self, logs: Mapping[str, PredictionLog], tell: Callable[..., None]) -> None:
        self._logs = logs
        self._tell = tell
        self._open: dict[str, _ModelLog] = {}
        for name, options in logs.items():
            if name != "*":
                self._open[name] = _ModelLog(name, options, tell)

    def write(self, records: list[Record]) -> int:
        """See `Writer`."""
        written = 0
        for name, group in groupby(records, key=lambda record: record.model or ""):
            log = self._open.get(name)
            if log is None:
                options = self._logs.get("*")
                if options is None:
                    continue
                log = self._open[name] = _ModelLog(name, options, self._tell)
            written += log.write(list(group))
        return written

    def tick(self) -> int:
        """See `Writer`."""
        for log in self._open.values():
            log.tick()
        return 0

    def close(self) -> int:
        """See `Writer`."""
        for log in self._open.values():
            log.close()
        return 0


class _ModelLog:
    """One model's files. The one that is written to is locked, so that no other headrace writes to it."""

    def __init__(self, name: str, options: PredictionLog, tell: Callable[..., None]) -> None:
        self._name = name
        self._options = options
        self._tell = tell
        self._directory = Path(options.directory)
        self._path = current_file(self._directory, name)
        self._fields = frozenset(options.redact)
        self._fd: int | None = None
        self._size_bytes = 0
        self._began_s = 0.0
        self._failed = 0
        self._failing = False
        self._retry_s = 0.0
        self._unconverted = _Unconverted(name, tell)
        with contextlib.suppress(OSError):
            self._unconverted.paths += self._left_behind()
        # At once, not with the first entry: who starts it should hear now that it cannot be written.
        self._try(lambda: None)

    def write(self, records: list[Record]) -> int:
        """Append entries; returns how many are in the file."""
        if self._failing and time.monotonic() < self._retry_s:
            self._failed += len(records)
            return 0
        written = 0
        part: list[bytes] = []
        size = 0
        for record in records:
            line = msgspec.json.encode(entry(record, self._fields, self._options.max_body_bytes))
            part.append(line)
            size += len(line) + 1
            if size >= _WRITE_BYTES:
                written += self._write_part(part)
                part, size = [], 0
        return written + self._write_part(part)

    def tick(self) -> None:
        """Finish a file that is old, and turn finished ones into Parquet."""
        if self._fd is not None and self._size_bytes and time.time() - self._began_s >= self._options.max_file_age_s:
            self._try(self._finish_file)
        self._unconverted.convert()

    def close(self) -> None:
        """Let go of the file; it is gone on with after the next start."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write_part(self, lines: list[bytes]) -> int:
        if not lines:
            return 0
        data = b"\n".join(lines) + b"\n"
        if self._try(lambda: self._append(data)):
            return len(lines)
        self._failed += len(lines)
        return 0

    def _try(self, act: Callable[[], None]) -> bool:
        """Do something with the file. What fails is said once, and tried again a second later at the soonest."""
        try:
            if self._fd is None:
                self._open_file()
            act()
        except OSError as error:
            self._retry_s = time.monotonic() + _RETRY_S
            self.close()
            if not self._failing:
                self._failing = True
                self._tell(
                    "error",
                    "prediction log failing",
                    model=self._name,
                    path=str(self._path),
                    reason=error.strerror or str(error),
                    kept="all serving",
                )
            return False
        if self._failing:
            self._failing = False
            self._tell("info", "prediction log works again", model=self._name, not_written=self._failed)
            self._failed = 0
        return True

    def _open_file(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(0, "another headrace writes to it") from None
            size_bytes = os.fstat(fd).st_size
            whole = _whole_bytes(fd, size_bytes)
            if whole < size_bytes:  # the last line of a recorder that was killed in the middle of it
                os.ftruncate(fd, whole)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._size_bytes = fd, whole
        self._began_s = os.fstat(fd).st_mtime if whole else time.time()

    def _append(self, data: bytes) -> None:
        """Write all or nothing."""
        if self._size_bytes and self._size_bytes + len(data) > self._options.max_file_bytes:
            self._finish_file()
            self._open_file()
        fd = self._fd
        if fd is None:
            raise OSError(0, "not open")
        if not self._size_bytes:
            self._began_s = time.time()
        sent = 0
        try:
            while sent < len(data):
                sent += os.write(fd, data[sent:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, self._size_bytes)
            raise
        self._size_bytes += len(data)

    def _finish_file(self) -> None:
        self._forget_old()  # first: on a full disk it is what makes room
        if self._fd is not None:
            os.fsync(self._fd)
        finished = next_file(self._directory, self._name, time.time())
        self._path.rename(finished)
        self.close()
        self._size_bytes = 0
        if self._options.format == "parquet":
            self._unconverted.paths.append(finished)

    def _forget_old(self) -> None:
        """Leave room for one more file among the `keep` newest."""
        keep = self._options.keep
        if keep is None:
            return
        for there in (closed_files(self._directory, self._name), bad_files(self._directory, self._name)):
            for path in there[: max(0, len(there) - keep + 1)]:
                path.unlink(missing_ok=True)

    def _left_behind(self) -> list[Path]:
        """Finished files that should be Parquet and are not yet, and remains of an interrupted conversion."""
        if self._options.format != "parquet":
            return []
        found = [path for path in closed_files(self._directory, self._name) if path.suffix == ".jsonl"]
        for path in found:
            path.with_suffix(".parquet.part").unlink(missing_ok=True)
        return found


class _Unconverted:
    """Finished files (`paths`, oldest first) that are to become Parquet."""

    def __init__(self, name: str, tell: Callable[..., None]) -> None:
        self.paths: list[Path] = []
        self._name = name
        self._tell = tell
        self._failing = False
        self._wait_s = 0.0
        self._retry_s = 0.0

    def convert(self) -> None:
        """Convert them all, or as far as it goes; then it is tried again later, more and more rarely."""
        if not self.paths or time.monotonic() < self._retry_s:
            return
        while self.paths:
            try:
                if self.paths[0].exists():  # it may have been forgotten meanwhile, or taken away
                    self._convert(self.paths[0])
            except (OSError, ImportError, MemoryError) as error:
                self._failed(error)
                return
            self.paths.pop(0)
        if self._failing:
            self._failing = False
            self._wait_s = 0.0
            self._tell("info", "prediction log converted again", model=self._name)

    def _convert(self, path: Path) -> None:
        from headrace.recorder.parquet import convert  # noqa: PLC0415 - an optional package, and a slow import

        try:
            left_out = convert(path)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever pyarrow finds wrong with it: it will do so again
            aside = bad_file(path)
            path.rename(aside)
            self._tell(
                "error",
                "prediction log file set aside",
                model=self._name,
                path=str(aside),
                reason=type(error).__name__,
                kept="the other files",
            )
            return
        if left_out:
            self._tell("warning", "prediction log lines left out", model=self._name, path=str(path), lines=left_out)

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._tell(
                "error",
                "prediction log not converted",
                model=self._name,
                path=str(self.paths[0]),
                reason=getattr(error, "strerror", None) or str(error) or type(error).__name__,
                kept="the file as JSON lines",
            )
        self._wait_s = min(_MOST_RETRY_S, 2 * self._wait_s or _RETRY_S)
        self._retry_s = time.monotonic() + self._wait_s


def _whole_bytes(fd: int, size_bytes: int) -> int:
    """How many of a file's bytes are whole lines."""
    at = size_bytes
    while at > 0:
        begin = max(0, at - 65_536)
        end = os.pread(fd, at - begin, begin).rfind(b"\n")
        if end >= 0:
            return begin + end + 1
        at = begin
    return 0
