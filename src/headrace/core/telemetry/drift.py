"""Drift at a glance: the share of each predicted label, over time and against the version before.

Pure. A label is a string, a truth value or a whole number that a model predicts; other answers have no labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OTHER = "other"
MAX_TRACKED = 1000
_LABEL_MEMBERS = ("label", "prediction", "class")


def labels_of(answer: Any, member: str | None = None) -> Iterator[str]:
    """The labels in an answer's ``predictions``. `member` names where they are in predictions that are objects."""
    predictions = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(predictions, list):
        return
    for one in predictions:
        found = one
        if isinstance(one, dict):
            names = _LABEL_MEMBERS if member is None else (member,)
            found = next((one[name] for name in names if name in one), None)
        if isinstance(found, (str, bool, int)):
            yield str(found).lower() if isinstance(found, bool) else str(found)


@dataclass
class Tally:
    """How often each label was predicted. Beyond `MAX_TRACKED` different ones new labels are counted as `OTHER`."""

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many predictions."""
        return self.counts.total()

    def add(self, label: str, times: int = 1) -> None:
        """Count `times` predictions of `label`."""
        if label not in self.counts and len(self.counts) >= MAX_TRACKED:
            label = OTHER
        self.counts[label] += times

    def shares(self, labels: list[str]) -> dict[str, float]:
        """The share of each of `labels`, and of all others together as `OTHER` where there are such; sums up to 1."""
        total = self.total
        if not total:
            return {}
        shares = {label: self.counts[label] / total for label in labels}
        rest = total - sum(self.counts[label] for label in labels)
        return shares if not rest else {**shares, OTHER: rest / total + shares.get(OTHER, 0.0)}


@dataclass
class Drift:
    """One model's tallies: by version, in the order of their first prediction, and by time, in steps of `step_s`."""

    step_s: float
    by_version: dict[str, Tally] = field(default_factory=dict)
    by_time: dict[int, Tally] = field(default_factory=dict)

    def add(self, at_s: float, version: str, label: str) -> None:
        """Count a prediction of `version` at `at_s`."""
        self.by_version.setdefault(version, Tally()).add(label)
        self.by_time.setdefault(int(at_s // self.step_s), Tally()).add(label)

    def top_labels(self, most: int) -> list[str]:
        """The labels that were predicted most often, at most so many, the most frequent first."""
        overall: Counter[str] = Counter()
        for tally in self.by_version.values():
            overall.update(tally.counts)
        overall.pop(OTHER, None)
        return [label for label, _ in sorted(overall.items(), key=lambda item: (-item[1], item[0]))[:most]]


def distance(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Total variation: the share of predictions that would have to change for one to become the other, 0 to 1."""
    labels = before.keys() | after.keys()
    return sum(abs(before.get(label, 0.0) - after.get(label, 0.0)) for label in labels) / 2
