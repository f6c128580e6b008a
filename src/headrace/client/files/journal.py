"""What of a long job is done already: one line a chunk, on the disk before the next is begun.

The journal lies beside the output, as ``OUTPUT.journal``. Its first line says of which input, model and options it is;
another job's journal is refused. A line that was being written when the process was killed is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from headrace.core.errors import UsageError

_FORMAT = 1


class Journal:
    """The chunks of one job that are done, by their first row. A context manager; one process at a time."""

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        """Open or begin it; raises UsageError if it belongs to another job or to a running process."""
        self.path = path
        self._places: dict[int, tuple[int, int]] = {}
        self._failed: dict[int, str] = {}
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        try:
            self._lock()
            self._read({"headrace_predict": _FORMAT, **job})
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, start: int) -> bool:
        return start in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, start: int, predictions: list[Any], failed: Mapping[int, str] | None = None) -> None:
        """Note that the chunk from row `start` is done, and why rows of it `failed`; returns when it is on the disk."""
        entry: dict[str, Any] = {"start": start, "predictions": predictions}
        if failed:
            entry["failed"] = {str(row): why for row, why in failed.items()}
        line = json.dumps(entry).encode() + b"\n"
        at = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._places[start] = (at, len(line))
        self._failed.update(failed or {})

    def failed(self) -> dict[int, str]:
        """The rows that failed, and why."""
        return dict(self._failed)

    def predictions(self, start: int) -> list[Any]:
        """Return the predictions of a chunk that is done."""
        at, length = self._places[start]
        self._file.seek(at)
        found: list[Any] = json.loads(self._file.read(length))["predictions"]
        return found

    def rows(self) -> int:
        """How many rows are done."""
        return sum(len(self.predictions(start)) for start in self._places)

    def remove(self) -> None:
        """The job is finished: its output says everything."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{self.path}: another process is writing this output") from None

    def _read(self, head: dict[str, Any]) -> None:
        self._file.seek(0)
        good = 0
        for at, line in self._lines():
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if at == 0:
                self._check(entry, head)
            else:
                self._places[int(entry["start"])] = (at, len(line))
                self._failed.update({int(row): why for row, why in entry.get("failed", {}).items()})
            good = at + len(line)
        self._file.truncate(good)
        if good == 0:
            self._file.seek(0)
            self._file.write(json.dumps(head).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        at = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                return
            yield at, line
            at += len(line)

    def _check(self, found: Any, head: dict[str, Any]) -> None:
        if found == head:
            return
        differing = [name for name in head if not isinstance(found, dict) or found.get(name) != head[name]]
        raise UsageError(
            f"{self.path} was begun by another job (differs in: {', '.join(differing)}); go on with that one, or "
            "start again with --restart"
        )
