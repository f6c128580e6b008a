"""A text and the answer that a model should give for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Labelled(NamedTuple):
    """One text with its true label."""

    label: str
    text: str


def texts_and_labels(examples: Iterable[Labelled]) -> tuple[list[str], list[str]]:
    """Return two lists of equal length, texts and labels, in the order given."""
    texts: list[str] = []
    labels: list[str] = []
    for example in examples:
        texts.append(example.text)
        labels.append(example.label)
    return texts, labels
