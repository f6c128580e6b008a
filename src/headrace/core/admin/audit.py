"""A chain of entries of what was changed: lines of JSON, each of which holds the hash of the one before.

Whoever changes, removes, inserts or moves a line breaks the chain there. Two things no chain shows by itself: that the
newest lines were cut off, and that all were written anew. Both show beside one hash that was kept elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

FIRST = "0" * 64
"""What stands for the hash before the first entry."""
CONTINUED = "continued"
"""The entry that follows a line which was not written to its end."""

_SEALED = re.compile(rb'(\{.*),"sha256":"([0-9a-f]{64})"\}', re.DOTALL)


class Seen(msgspec.Struct, frozen=True):
    """The `number` of the last entry and its hash; of nothing yet: 0 and `FIRST`."""

    number: int = 0
    sha256: str = FIRST


class Broken(ValueError):
    """A line that does not go on where the one before ended; says why."""


class NoEntry(Broken):
    """A line that is no entry: it may have been cut off by a crash, or by a disk that was full."""


def seal(entry: Mapping[str, Any], last: Seen) -> tuple[bytes, Seen]:
    """The line of an entry that comes after `last`, with its end of line, and what has been seen then."""
    number = last.number + 1
    data = msgspec.json.encode({"number": number, **entry, "before": last.sha256})
    digest = sha256(data).hexdigest()
    return data[:-1] + b',"sha256":"' + digest.encode() + b'"}\n', Seen(number, digest)


def read(line: bytes) -> tuple[dict[str, Any], str]:
    """(the entry, its hash) of a line without its end. Raises NoEntry, and Broken where it was changed."""
    match = _SEALED.fullmatch(line)
    if match is None:
        raise NoEntry("is no entry")
    data, digest = match[1] + b"}", match[2].decode()
    if sha256(data).hexdigest() != digest:
        raise Broken("was changed: it is not what its hash says")
    try:
        entry = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NoEntry("is no entry") from None
    return entry, digest


class Chain:
    """Checks lines one after the other; `last` is where it is, `torn` how many lines were cut off."""

    def __init__(self) -> None:
        self.last = Seen()
        self.torn = 0
        self._torn: list[bytes] = []

    def follow(self, line: bytes) -> dict[str, Any] | None:
        """The entry of the next line, without its end; None: it is none. Raises Broken.

        A line that is no entry is taken if the next entry says that it was cut off.
        """
        try:
            entry, digest = read(line)
        except NoEntry:
            self._torn.append(line)
            return None
        if self._torn:
            if entry.get("what") != CONTINUED or entry.get("torn") != _hash_of(self._torn):
                raise Broken("follows a line that is no entry, and does not know of it")
            self.torn += len(self._torn)
            self._torn.clear()
        if entry.get("before") != self.last.sha256 or entry.get("number") != self.last.number + 1:
            raise Broken(
                f"does not follow entry {self.last.number}: something was removed, inserted or moved before it"
            )
        self.last = Seen(self.last.number + 1, digest)
        return entry

    def end(self) -> None:
        """There are no more lines; the last may have been cut off."""
        self.torn += len(self._torn)


def continued(torn: Sequence[bytes]) -> dict[str, Any]:
    """What the entry after lines that were cut off says."""
    return {"what": CONTINUED, "torn": _hash_of(torn)}


def end_of(lines: Sequence[bytes]) -> tuple[Seen, list[bytes]]:
    """(the last entry, the lines after it that are none) of the end of a file. Raises Broken."""
    torn: list[bytes] = []
    for line in reversed(lines):
        try:
            entry, digest = read(line)
        except NoEntry:
            torn.insert(0, line)
        else:
            return Seen(entry["number"], digest), torn
    raise NoEntry("has no entry at its end")


def _hash_of(lines: Sequence[bytes]) -> str:
    return sha256(b"\n".join(lines)).hexdigest()
