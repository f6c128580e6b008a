"""Adds up what several processes count: no sum goes back when one of them starts anew or drops a version.

The counts of a version that has ended stay, for a while: so that a server that follows a registry for months does not
grow with every version that it has ever served, the series of all but the last `keep_ended` are let go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
_Key = tuple[str, Labels]
_Version = tuple[str, str]

_COUNTED = ("_total", "_bucket", "_sum", "_count")


def is_counter(name: str) -> bool:
    """Whether a sample's name says that it only ever grows (Prometheus' conventions)."""
    return name.endswith(_COUNTED)


class Totals:
    """Sums over sources. A counter that is smaller than it was, or absent, has begun again from zero."""

    def __init__(self, keep_ended: int = 32) -> None:
        self._keep_ended = keep_ended
        self._totals: dict[_Key, float] = {}
        self._seen: dict[Hashable, dict[_Key, float]] = {}
        self._gauges: dict[Hashable, dict[_Key, float]] = {}
        self._versions: dict[_Version, None] = {}  # by when they were last there, the longest ago first

    @property
    def sources(self) -> set[Hashable]:
        """Those that were fed and not forgotten."""
        return set(self._seen)

    def feed(self, source: Hashable, samples: Iterable[Sample]) -> None:
        """Take a source's newest counts. The same name and labels may come twice: they are added."""
        counters: dict[_Key, float] = {}
        gauges: dict[_Key, float] = {}
        for name, labels, value in samples:
            into = counters if is_counter(name) else gauges
            key = (name, labels)
            into[key] = into.get(key, 0.0) + value
        before = self._seen.get(source, {})
        for key, value in counters.items():
            was = before.get(key, 0.0)
            self._totals[key] = self._totals.get(key, 0.0) + (value - was if value >= was else value)
        self._seen[source] = counters
        self._gauges[source] = gauges
        if counters.keys() != before.keys():
            self._let_go()

    def forget(self, source: Hashable) -> None:
        """A source has ended: what it counted stays, what it had in hand is gone, and its next life begins at zero."""
        self._seen.pop(source, None)
        self._gauges.pop(source, None)

    def samples(self) -> list[Sample]:
        """Everything added up."""
        now: dict[_Key, float] = {}
        for gauges in self._gauges.values():
            for key, value in gauges.items():
                now[key] = now.get(key, 0.0) + value
        return [(name, labels, value) for (name, labels), value in (*self._totals.items(), *now.items())]

    def _let_go(self) -> None:
        there = {version for counters in self._seen.values() for key in counters if (version := _version(key))}
        for version in there:
            self._versions.pop(version, None)
            self._versions[version] = None
        ended = [version for version in self._versions if version not in there]
        gone = set(ended[: max(0, len(ended) - self._keep_ended)])
        if gone:
            self._versions = {version: None for version in self._versions if version not in gone}
            self._totals = {key: value for key, value in self._totals.items() if _version(key) not in gone}


def _version(key: _Key) -> _Version | None:
    """The (model, version) that a counter is about; None where it is about neither or only one of them."""
    labels = dict(key[1])
    model, version = labels.get("model"), labels.get("version")
    return (model, version) if model and version else None
