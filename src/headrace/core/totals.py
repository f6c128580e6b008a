"""Adds up what several gateways count: no sum goes back when one of them starts anew or drops a version."""

from __future__ import annotations

from collections.abc import Iterable

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
_Key = tuple[str, Labels]

_COUNTED = ("_total", "_bucket", "_sum", "_count")


def is_counter(name: str) -> bool:
    """Whether a sample's name says that it only ever grows (Prometheus' conventions)."""
    return name.endswith(_COUNTED)


class Totals:
    """Sums over sources. A counter that is smaller than it was, or absent, has begun again from zero."""

    def __init__(self) -> None:
        self._totals: dict[_Key, float] = {}
        self._seen: dict[int, dict[_Key, float]] = {}
        self._gauges: dict[int, dict[_Key, float]] = {}

    def feed(self, source: int, samples: Iterable[Sample]) -> None:
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

    def forget(self, source: int) -> None:
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
