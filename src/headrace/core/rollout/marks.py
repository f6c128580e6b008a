"""Versions that must not be brought up, with the reason and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from headrace.core.rollout.actions import Identity


@dataclass
class _Mark:
    """Not to be brought up until `until_s`, or (None) until the registry changes."""

    until_s: float | None
    reason: str
    attempts: int = 1
    refused: bool = False
    sent_back: bool = False


class Marks(Generic[Identity]):
    """A version may be marked as failed (for a while), refused by a check, or sent back because it did badly.

    Times are seconds on the caller's clock. A version that has failed `n` times waits for `first_s` times 2 to the
    power of `n - 1`, at most for `most_s`.
    """

    def __init__(self, first_s: float = 30.0, most_s: float = 600.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._marks: dict[Identity, _Mark] = {}

    def configure(self, first_s: float, most_s: float) -> None:
        """Wait for so long from the next failure on."""
        self._first_s, self._most_s = first_s, most_s

    def __contains__(self, identity: object) -> bool:
        return identity in self._marks

    def restore(self, sent_back: Mapping[Identity, str], refused: Mapping[Identity, str]) -> None:
        """Restore the marks from before a restart. Versions that a check has refused are to be checked again."""
        self._marks = {identity: _Mark(0.0, reason, refused=True) for identity, reason in refused.items()}
        self._marks |= {identity: _Mark(None, reason, sent_back=True) for identity, reason in sent_back.items()}

    def failed(self, identity: Identity, reason: str, now_s: float, *, refused: bool) -> None:
        """Mark a version that could not be brought up, or that a check has refused."""
        mark = self._marks.get(identity)
        attempts = mark.attempts + 1 if mark else 1
        wait_s = min(self._most_s, self._first_s * 2 ** (attempts - 1))
        self._marks[identity] = _Mark(None if refused else now_s + wait_s, reason, attempts, refused=refused)

    def send_back(self, identity: Identity, reason: str) -> None:
        """Mark a version that has served and did badly."""
        self._marks[identity] = _Mark(None, reason, sent_back=True)

    def remove(self, identity: Identity) -> None:
        """Remove the mark of a version."""
        self._marks.pop(identity, None)

    def clear(self) -> None:
        """Remove all marks."""
        self._marks.clear()

    def retry(self, now_s: float) -> None:
        """Make all versions due that wait for a time."""
        for mark in self._marks.values():
            mark.until_s = None if mark.until_s is None else min(mark.until_s, now_s)

    def is_due(self, identity: Identity, now_s: float) -> bool:
        """Whether a marked version is to be tried again."""
        until_s = self._marks[identity].until_s
        return until_s is not None and now_s >= until_s

    def due_in_s(self, identity: Identity, now_s: float) -> float | None:
        """In how many seconds (to the millisecond) it is tried again; None: when the registry changes."""
        mark = self._marks.get(identity)
        return max(0.0, round(mark.until_s - now_s, 3)) if mark is not None and mark.until_s is not None else None

    def was_sent_back(self, identity: Identity) -> bool:
        """Whether it has served, and did badly."""
        mark = self._marks.get(identity)
        return mark is not None and mark.sent_back

    @property
    def bad(self) -> dict[Identity, str]:
        """Versions that are not brought up until the registry changes, with the reason."""
        return {i: mark.reason for i, mark in self._marks.items() if mark.until_s is None}

    @property
    def refused(self) -> dict[Identity, str]:
        """What a check has refused, and why; also where it is to be checked again, after a restart."""
        return {i: mark.reason for i, mark in self._marks.items() if mark.refused}

    @property
    def sent_back(self) -> dict[Identity, str]:
        """Versions that have served and did badly, with the reason."""
        return {i: mark.reason for i, mark in self._marks.items() if mark.sent_back}
