"""A prediction cache: least recently used first out, bounded in bytes, each entry with its time to live.

Pure: time is a number of seconds on a clock that does not go back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRY_BYTES = 400
"""What an entry costs besides the bytes of its key and value: the objects around them, measured on CPython 3.11."""


class Cache(Generic[K, V]):
    """Entries of one served version. `max_bytes` bounds their sizes, `ttl_s` None keeps each until it is displaced.

    `size_bytes` is the exact sum of the sizes that `put` was told, plus `ENTRY_BYTES` for each entry.
    """

    __slots__ = ("_entries", "max_bytes", "size_bytes", "ttl_s")

    def __init__(self, max_bytes: int, ttl_s: float | None) -> None:
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self.size_bytes = 0
        self._entries: OrderedDict[K, tuple[V, int, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Cache {len(self._entries)} entries, {self.size_bytes} of {self.max_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now_s: float) -> V | None:
        """Return what is kept under `key` and still good, and make it the most recently used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[2] <= now_s:
            del self._entries[key]
            self.size_bytes -= entry[1]
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size_bytes: int, now_s: float) -> bool:
        """Keep `value`, whose key and value hold `size_bytes`; False (and no change) if it can never fit."""
        size_bytes += ENTRY_BYTES
        if size_bytes > self.max_bytes:
            return False
        old = self._entries.pop(key, None)
        if old is not None:
            self.size_bytes -= old[1]
        expires_s = float("inf") if self.ttl_s is None else now_s + self.ttl_s
        self._entries[key] = (value, size_bytes, expires_s)
        self.size_bytes += size_bytes
        self._shrink()
        return True

    def resize(self, max_bytes: int, ttl_s: float | None) -> None:
        """Change the bounds; entries keep the time to live that they were put in with."""
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self._shrink()

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self.size_bytes = 0

    def _shrink(self) -> None:
        while self.size_bytes > self.max_bytes:
            _, (_, size_bytes, _) = self._entries.popitem(last=False)
            self.size_bytes -= size_bytes
