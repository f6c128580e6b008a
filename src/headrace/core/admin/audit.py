"""A chain of audit entries: lines of JSON, each with the hash of the line before.

A line that was changed, removed, inserted or moved breaks the chain. A chain alone does not show that its newest lines
were removed, or that all of it was written again. A hash that was kept in another place shows both.
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
    """The `number` and the hash of the last entry; 0 and `FIRST` without any."""

    number: int = 0
    sha256: str = FIRST


class Broken(ValueError):
    """A line does not continue the chain; the message says why."""


class NoEntry(Broken):
    """A line is no entry: a crash or a full disk may have cut it off."""


def seal(entry: Mapping[str, Any], last: Seen) -> tuple[bytes, Seen]:
    """(the line of an entry that follows `last`, with its end of line; the new end of the chain)."""
    number = last.number + 1
    data = msgspec.json.encode({"number": number, **entry, "before": last.sha256})
    digest = sha256(data).hexdigest()
    return data[:-1] + b',"sha256":"' + digest.encode() + b'"}\n', Seen(number, digest)


def read(line: bytes) -> tuple[dict[str, Any], str]:
    """(the entry, its hash) of a line without its line feed. Raises NoEntry, or Broken if the line was changed."""
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
    """Checks lines one after the other. `last` is the last good entry, `torn` the number of incomplete lines."""

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
        """Finish: there are no more lines. The last one may be incomplete."""
        self.torn += len(self._torn)


def continued(torn: Sequence[bytes]) -> dict[str, Any]:
    """The content of the entry after incomplete lines."""
    return {"what": CONTINUED, "torn": _hash_of(torn)}


def end_of(lines: Sequence[bytes]) -> tuple[Seen, list[bytes]]:
    """(the last entry, the incomplete lines after it) of the end of a file. Raises Broken."""
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
