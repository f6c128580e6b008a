"""What a text is about: business, health, politics, science, sports or technology."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.svm import LinearSVC

from news.pipelines import WordFeatures, train
from news.seed_terms import load_vocabulary, sentences
from news.windows import windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.pipeline import Pipeline

    from news.labelled import Labelled

SEED: Final = 20
FEATURES: Final = WordFeatures(token_pattern=r"(?u)\b\w\w+\b", longest_phrase=1, hash_bits=18)


@dataclass(frozen=True)
class TopicSettings:
    """What may be chosen. The defaults are what `python -m news.choose` and the development headlines spoke for.

    `penalty` is LinearSVC's C. `windows_per_document` short texts are cut out of each document, and
    `sentences_per_topic` sentences are drawn from the seed terms.
    """

    features: WordFeatures = FEATURES
    penalty: float = 0.3
    windows_per_document: int = 2
    sentences_per_topic: int = 8000


CHOSEN: Final = TopicSettings()


def train_topic_model(documents: Sequence[Labelled], settings: TopicSettings = CHOSEN) -> Pipeline:
    """Return the pipeline fitted to documents, to short windows of them and to sentences of seed terms.

    The same documents and settings give the same model.
    """
    rng = np.random.default_rng(SEED)
    texts = chain(
        documents,
        windows(documents, per_document=settings.windows_per_document, rng=rng),
        sentences(load_vocabulary(), per_topic=settings.sentences_per_topic, rng=rng),
    )
    classifier = LinearSVC(C=settings.penalty, class_weight="balanced", fit_intercept=False, random_state=SEED)
    return train(settings.features, classifier, texts)
