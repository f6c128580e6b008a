"""Sentences made of a hand-written vocabulary, to teach a topic's words that the old documents do not know."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from news.errors import NewsError
from news.labelled import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

VOCABULARY: Final = "seed_terms.txt"
TERMS_PER_SENTENCE: Final = (3, 10)  # at least, below
FILLERS_PER_SENTENCE: Final = (8, 20)  # at least, below
SHARE_IN_OTHER_NUMBER: Final = 0.25
FILLERS_PER_NEUTRAL: Final = (2, 8)  # at least, below
# The section whose words stand in the sentences of every topic alike, so that they speak for none.
EVERY_TOPIC: Final = "every topic"


@dataclass(frozen=True)
class Vocabulary:
    """`terms` of each topic, words or short phrases; `fillers` are words of any headline."""

    terms: dict[str, tuple[str, ...]]
    fillers: tuple[str, ...]


def parse_vocabulary(content: str) -> Vocabulary:
    """Read sections ``[topic]`` of terms separated by commas; ``#`` begins a comment line.

    Raises NewsError for a term before the first section and if there is no ``[every topic]``. A term given twice in
    a section counts once.
    """
    found: dict[str, dict[str, None]] = {}
    terms: dict[str, None] | None = None
    for number, line in enumerate(content.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            terms = found.setdefault(stripped[1:-1], {})
        elif terms is None:
            raise NewsError(f"{VOCABULARY} line {number}: a term before the first [topic]")
        else:
            terms.update(dict.fromkeys(term.strip() for term in stripped.split(",") if term.strip()))
    if EVERY_TOPIC not in found:
        raise NewsError(f"{VOCABULARY}: no section [{EVERY_TOPIC}]")
    fillers = tuple(found.pop(EVERY_TOPIC))
    return Vocabulary(terms={topic: tuple(terms) for topic, terms in found.items()}, fillers=fillers)


def load_vocabulary() -> Vocabulary:
    """Return the vocabulary as it stands in this package."""
    return parse_vocabulary(files("news").joinpath(VOCABULARY).read_text(encoding="utf-8"))


def sentences(vocabulary: Vocabulary, *, per_topic: int, rng: np.random.Generator) -> Iterator[Labelled]:
    """Yield `per_topic` sentences for each topic: some of its terms and some fillers, in random order.

    A part of the terms changes number, so that 'election' is learnt from 'elections' too.
    """
    fillers = vocabulary.fillers
    for topic, terms in vocabulary.terms.items():
        for _ in range(per_topic):
            count = min(len(terms), int(rng.integers(*TERMS_PER_SENTENCE)))
            chosen = [terms[index] for index in rng.choice(len(terms), size=count, replace=False)]
            chosen = [other_number(term) if rng.random() < SHARE_IN_OTHER_NUMBER else term for term in chosen]
            chosen += [fillers[index] for index in rng.integers(len(fillers), size=rng.integers(*FILLERS_PER_SENTENCE))]
            rng.shuffle(chosen)
            yield Labelled(topic, " ".join(chosen))


def other_number(term: str) -> str:
    """Return a singular's plural and a plural's singular, as far as a final s makes it: the model knows no grammar."""
    if term.endswith("s") and not term.endswith(("ss", "us", "is")):
        return term[:-1]
    return term + "s"


def neutral_sentences(vocabulary: Vocabulary, *, count: int, rng: np.random.Generator) -> Iterator[Labelled]:
    """Yield `count` runs of headline words that speak for no topic, as texts that sound neutral."""
    for _ in range(count):
        indices = rng.integers(len(vocabulary.fillers), size=rng.integers(*FILLERS_PER_NEUTRAL))
        yield Labelled("neutral", " ".join(vocabulary.fillers[index] for index in indices))
