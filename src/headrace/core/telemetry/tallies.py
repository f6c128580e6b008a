"""Counts of what happened to a model's versions, in bounded memory however many versions come and go."""

from __future__ import annotations

from collections.abc import Iterator


class Tallies:
    """Counts by version and by what is counted, of the `most` versions that were counted last.

    `core.telemetry.totals.Totals` goes on from what it was told, should a version that was let go be counted again.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, version: str, what: str, count: int = 1) -> None:
        """Count so many more."""
        counts = self._counts[version] = self._counts.pop(version, {})
        counts[what] = counts.get(what, 0) + count
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]

    def items(self) -> Iterator[tuple[str, str, int]]:
        """(version, what, count), the version that was counted last at the end."""
        for version, counts in self._counts.items():
            for what, count in counts.items():
                yield version, what, count
