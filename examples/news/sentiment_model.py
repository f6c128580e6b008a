"""How a text sounds: negative, neutral or positive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from news.labelled import Labelled
from news.pipelines import WordFeatures, train
from news.seed_terms import load_vocabulary, neutral_sentences
from news.sentiment_data import sentiment_of_rating

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.pipeline import Pipeline

HELD_OUT_SHARE: Final = 0.1
SEED: Final = 0
MOST_ROUNDS: Final = 300  # of LogisticRegression's solver; it ends in about 60
# What turns the next word around, and the little words that may stand between.
_NEGATION: Final = (
    r"not|never|no|nor|neither|nobody|nothing|none|cannot|hardly|barely|without|cant|dont|doesnt|didnt|isnt|wasnt"
    r"|arent|werent|wont|wouldnt|couldnt|shouldnt|hasnt|havent|hadnt|aint"
)
_BETWEEN: Final = (
    r"a|an|the|very|really|that|so|too|even|ever|been|be|being|any|at|all|much|quite|it|to|of|say|i|particularly"
    r"|exactly|as|get|have|had|do|for|is|was|were|are|seem|look|feel|feels|go|going|one|in"
)
NEGATED: Final = "not_"
REWRITING: Final = (
    rf"((?:\b(?:{_NEGATION})|n['\u2019]t)\b(?:\s+(?:{_BETWEEN})\b)*)\s+(\w[\w']*)", rf"\1 {NEGATED}\2",
)  # fmt: skip
# A negated word means about three quarters of the contrary: the share of VADER's rules.
NEGATED_RATING: Final = -0.74
SURE_RATING: Final = 1.2
# Words keep their apostrophes (don't); exclamation and question marks and the commonest emoticons count as words.
FEATURES: Final = WordFeatures(
    token_pattern=r"(?u)\w[\w']*|[!?]+|[:;=][-']?[)(DPp/]", longest_phrase=2, hash_bits=19, rewriting=REWRITING
)


@dataclass(frozen=True)
class SentimentSettings:
    """What may be chosen. The defaults are what `python -m news.choose` spoke for.

    `penalty` is LogisticRegression's C. A neutral text, of which there are few, counts `neutral_weight` times.
    `neutral_sentences` of headline words teach that 'news' alone is neutral. Of the rated words that are commonest in
    the texts, `negated_words` are learnt from as 'not good' and 'not good at all'.
    """

    features: WordFeatures = FEATURES
    penalty: float = 4.0
    neutral_weight: float = 1.3
    neutral_sentences: int = 300
    negated_words: int = 300


CHOSEN: Final = SentimentSettings()


def split(snippets: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Return (to learn from, held out): a random tenth is held out, with the same share of each label."""
    labels = [snippet.label for snippet in snippets]
    learn, held_out = train_test_split(list(snippets), test_size=HELD_OUT_SHARE, random_state=SEED, stratify=labels)
    return learn, held_out


def train_sentiment_model(
    learn: Sequence[Labelled], words: Mapping[str, float], settings: SentimentSettings = CHOSEN
) -> Pipeline:
    """Return the pipeline fitted to rated snippets, to negated rated words and to neutral sentences.

    The ratings of words, and of negated words, are known beforehand: how much the good and the bad ones of a text add
    up to, and how many there are, is learnt from beside the words themselves.

    The same texts and settings give the same model.
    """
    rng = np.random.default_rng(SEED)
    vocabulary = load_vocabulary()
    # Headlines' everyday words, but for those that the lexicon finds good or bad.
    plain = replace(vocabulary, fillers=tuple(word for word in vocabulary.fillers if word not in words))
    neutral = neutral_sentences(plain, count=settings.neutral_sentences, rng=rng)
    weights = {"negative": 1.0, "neutral": settings.neutral_weight, "positive": 1.0}
    classifier = LogisticRegression(C=settings.penalty, class_weight=weights, fit_intercept=False, max_iter=MOST_ROUNDS)
    negated = _negated(learn, words, settings.negated_words)
    return train(settings.features, classifier, [*learn, *neutral, *negated], _known(words))


def _known(words: Mapping[str, float]) -> dict[str, tuple[float, float, float, float]]:
    """Of each word and its negation: how good, how bad, whether good, whether bad."""
    both = [(word.lower(), rating) for word, rating in words.items()]
    both += [(NEGATED + word, NEGATED_RATING * rating) for word, rating in both]
    return {word: (max(r, 0.0), max(-r, 0.0), float(r > 0), float(r < 0)) for word, r in both}


def _negated(learn: Sequence[Labelled], words: Mapping[str, float], most: int) -> list[Labelled]:
    """The contrary of words of a clear rating, those that stand in most of the texts."""
    counted = Counter(word for _, text in learn for word in set(text.lower().split()))
    sure = [word for word, rating in words.items() if abs(rating) >= SURE_RATING and word.isalpha()]
    chosen = sorted(sure, key=lambda word: -counted[word.lower()])[:most]
    return [
        Labelled(sentiment_of_rating(NEGATED_RATING * words[word]), form.format(word))
        for word in chosen
        for form in ("not {}", "not {} at all")
    ]
