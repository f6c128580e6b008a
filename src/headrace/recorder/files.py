"""The names of a prediction log's files, and which of them there are.

``NAME.jsonl`` is written to. When it is full or old it becomes ``NAME-20261123T221745Z-0001.jsonl``, or, in a log of
that format, is turned into ``….parquet``. Readers need nothing else to follow it. One that cannot be turned into
Parquet is set aside as ``….bad``, which nobody reads.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

_CLOSED = re.compile(r"(?P<name>.+)-(?P<stamp>\d{8}T\d{6}Z-\d{4,})\.(?P<kind>jsonl|parquet|bad)")


def current_file(directory: Path, name: str) -> Path:
    """The file that is written to."""
    return directory / f"{name}.jsonl"


def closed_files(directory: Path, name: str) -> list[Path]:
    """The files that are finished, oldest first."""
    return _found(directory, name, ("jsonl", "parquet"))


def bad_files(directory: Path, name: str) -> list[Path]:
    """The files that were set aside, oldest first."""
    return _found(directory, name, ("bad",))


def bad_file(closed: Path) -> Path:
    """The name under which a finished file is set aside."""
    return closed.with_suffix(".bad")


def _found(directory: Path, name: str, kinds: tuple[str, ...]) -> list[Path]:
    found = []
    for path in directory.iterdir() if directory.is_dir() else ():
        match = _CLOSED.fullmatch(path.name)
        if match and match["name"] == name and match["kind"] in kinds:
            stamp, _, number = match["stamp"].partition("-")
            found.append((stamp, int(number), path))
    return [path for _, _, path in sorted(found)]


def next_file(directory: Path, name: str, now_s: float) -> Path:
    """A name for what is finished now. It sorts behind all that are there, even if the clock has gone back."""
    stamp = dt.datetime.fromtimestamp(now_s, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    closed = closed_files(directory, name)
    if closed and (last := _CLOSED.fullmatch(closed[-1].name)):
        last_stamp, _, last_number = last["stamp"].partition("-")
        if last_stamp >= stamp:
            stamp, number = last_stamp, int(last_number) + 1
    return directory / f"{name}-{stamp}-{number:04}.jsonl"
