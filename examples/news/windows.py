"""Texts as short as a headline with its summary, cut out of whole documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from news.labelled import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

WORDS: Final = (8, 41)  # at least, below
SHORTEST_DOCUMENT_WORDS: Final = 6
SHARE_FROM_THE_START: Final = 0.4  # where the subject line or the title is

# What marks the medium and not the topic: 're SUBJECT', 'in article ID WRITER writes', pieces of addresses and of
# headers, the agency's sign-off. The documents have no punctuation left, so an address is a run of words.
ARTEFACTS: Final = re.compile(
    r"\bin article\b(?: \w+){1,12}? (?:writes|wrote|says)\b"
    r"|\b(?:re|fwd|writes|wrote|edu|com|org|net|gov|uucp|bitnet|nntp|posting host|reply to|distribution|lines"
    r"|organization|keywords|summary|archive name|last modified|newsreader|tin version|reuters?|reut)\b"
)


def without_artefacts(document: str) -> str:
    """Return a document's words without the traces of Usenet and of the news agency."""
    return " ".join(ARTEFACTS.sub(" ", document).split())


def windows(documents: Iterable[Labelled], *, per_document: int, rng: np.random.Generator) -> Iterator[Labelled]:
    """Yield up to `per_document` runs of 8 to 40 words of each document, with the document's label.

    A document shorter than a window is given once, whole; one of under six words not at all.
    """
    for document in documents:
        words = without_artefacts(document.text).split()
        if len(words) < SHORTEST_DOCUMENT_WORDS:
            continue
        for _ in range(per_document):
            size = int(rng.integers(*WORDS))
            if len(words) <= size:
                yield Labelled(document.label, " ".join(words))
                break
            start = 0 if rng.random() < SHARE_FROM_THE_START else int(rng.integers(len(words) - size))
            yield Labelled(document.label, " ".join(words[start : start + size]))
