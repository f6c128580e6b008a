"""The distinct failures of a version, the newest kept: what was raised where, how often, since when, for whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.core.protocol.messages import Failure

MOST_KINDS = 50
MOST_IDS = 10


@dataclass
class Entry:
    """One kind of failure. Times are the caller's clock; `request_ids` are of the newest requests."""

    type: str
    where: str
    text: str
    traceback: str
    count: int
    first_s: float
    last_s: float
    status: int
    error_code: str
    request_ids: list[str] = field(default_factory=list)


class FailureBook:
    """At most `MOST_KINDS` kinds: the one that has not been seen for the longest time makes room for a new one."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, failure: Failure, now_s: float) -> bool:
        """Take what a gateway has told; returns whether it is of a kind that is not in the book."""
        key = (failure.type, failure.where)
        entry = self._entries.pop(key, None)
        is_new = entry is None
        if entry is None:
            entry = Entry(failure.type, failure.where, failure.text, failure.traceback, 0, now_s, now_s, 0, "")
            while len(self._entries) >= MOST_KINDS:
                del self._entries[next(iter(self._entries))]
        entry.count += failure.count
        entry.last_s, entry.status, entry.error_code = now_s, failure.status, failure.error_code
        entry.text = failure.text or entry.text
        entry.traceback = entry.traceback or failure.traceback
        entry.request_ids = [*entry.request_ids, *failure.request_ids][-MOST_IDS:]
        self._entries[key] = entry
        return is_new

    def describe(self, *, texts: bool) -> list[dict[str, Any]]:
        """The entries as data, the newest first; without `texts` neither what was said nor the traceback."""
        return [
            {
                "exception": entry.type or None,
                "where": entry.where or None,
                "text": entry.text or None if texts else None,
                "traceback": entry.traceback or None if texts else None,
                "count": entry.count,
                "first": entry.first_s,
                "last": entry.last_s,
                "status": entry.status,
                "error_code": entry.error_code or None,
                "request_ids": entry.request_ids,
            }
            for entry in reversed(self._entries.values())
        ]
