"""How a text sounds: negative, neutral or positive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from news.pipelines import WordFeatures, train
from news.seed_terms import load_vocabulary, neutral_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.pipeline import Pipeline

    from news.labelled import Labelled

HELD_OUT_SHARE: Final = 0.1
SEED: Final = 0
MOST_ROUNDS: Final = 300  # of LogisticRegression's solver; it ends in about 60
# Words keep their apostrophes (don't); exclamation and question marks and the commonest emoticons count as words.
FEATURES: Final = WordFeatures(token_pattern=r"(?u)\w[\w']*|[!?]+|[:;=][-']?[)(DPp/]", longest_phrase=2, hash_bits=19)


@dataclass(frozen=True)
class SentimentSettings:
    """What may be chosen. The defaults are what `python -m news.choose` spoke for.

    `penalty` is LogisticRegression's C. A neutral text, of which there are few, counts `neutral_weight` times.
    `neutral_sentences` of headline words teach that 'news' alone is neutral.
    """

    features: WordFeatures = FEATURES
    penalty: float = 4.0
    neutral_weight: float = 1.3
    neutral_sentences: int = 300


CHOSEN: Final = SentimentSettings()


def split(snippets: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Return (to learn from, held out): a random tenth is held out, with the same share of each label."""
    labels = [snippet.label for snippet in snippets]
    learn, held_out = train_test_split(list(snippets), test_size=HELD_OUT_SHARE, random_state=SEED, stratify=labels)
    return learn, held_out


def train_sentiment_model(
    learn: Sequence[Labelled], words: Sequence[Labelled], settings: SentimentSettings = CHOSEN
) -> Pipeline:
    """Return the pipeline fitted to rated snippets, to rated single words and to neutral sentences.

    The same texts and settings give the same model.
    """
    rng = np.random.default_rng(SEED)
    vocabulary = load_vocabulary()
    # Headlines' everyday words, but for those that the lexicon finds good or bad.
    charged = {word.text for word in words}
    plain = replace(vocabulary, fillers=tuple(word for word in vocabulary.fillers if word not in charged))
    neutral = neutral_sentences(plain, count=settings.neutral_sentences, rng=rng)
    weights = {"negative": 1.0, "neutral": settings.neutral_weight, "positive": 1.0}
    classifier = LogisticRegression(C=settings.penalty, class_weight=weights, fit_intercept=False, max_iter=MOST_ROUNDS)
    return train(settings.features, classifier, [*learn, *words, *neutral])
