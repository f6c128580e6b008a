"""From a table with one text column to a label: the pipeline that is trained, and the leaner one that is served.

Why these steps, measured with one text on one core:

- A model with a signature is handed a DataFrame. Iterating over one gives its column *names*, so a bare vectoriser
  would answer once per column. `operator.itemgetter` picks the column in 20 microseconds (a ColumnTransformer: 3 ms)
  and is found by every Python, so the model needs nothing of this package to load.
- Hashing words needs no vocabulary: loading takes milliseconds, and memory and file size are fixed beforehand.
- Word weights (inverse document frequencies) are needed to learn well, but to predict they can be multiplied into
  the classifier's coefficients once. Without an intercept the length of a text's vector does not change which label
  wins either. What is left to do for each text is to look words up and add.
- What is known of words beforehand (a lexicon's ratings) is learnt from as a few more columns, sums over a text's
  words. A sum of sums is one sum: those columns, too, are gone into the coefficients when the model is served.
- Negation is a rewriting of the text: the word that 'not' is about becomes another word, whatever stands between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from operator import attrgetter, itemgetter, methodcaller
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from news.labelled import texts_and_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from news.labelled import Labelled

TEXT_COLUMN: Final = "text"


@dataclass(frozen=True)
class WordFeatures:
    """What of a text the model sees: `token_pattern` finds its words, runs of 1 to `longest_phrase` words count.

    They are hashed into ``2 ** hash_bits`` features. `rewriting`, where there is one, is a regular expression and what
    `re.sub` puts in the place of what it finds, in lower case.
    """

    token_pattern: str
    longest_phrase: int
    hash_bits: int
    rewriting: tuple[str, str] | None = None


def text_frame(texts: Sequence[str]) -> pd.DataFrame:
    """Return the texts as the models take them: one column named `text`, one row per text."""
    return pd.DataFrame({TEXT_COLUMN: list(texts)})


def train(
    features: WordFeatures,
    classifier: Any,
    examples: Iterable[Labelled],
    known: Mapping[str, Sequence[float]] | None = None,
) -> Pipeline:
    """Fit the full pipeline to the examples and return the lean one that gives the same answers.

    `classifier` is a linear scikit-learn classifier without an intercept, not yet fitted. `known` maps single words, as
    they are after the rewriting, to what is known of them: as many numbers for each.
    """
    texts, labels = texts_and_labels(examples)
    pipeline = full(features, classifier)
    if known is None:
        pipeline.fit(text_frame(texts), np.asarray(labels))
        return lean(pipeline, features)
    vectors = pipeline[:-1].fit_transform(text_frame(texts))
    per_word = sparse.diags(1 / pipeline.named_steps["weights"].idf_) @ _by_feature(features, known)
    classifier.fit(sparse.hstack([vectors, vectors @ per_word]).tocsr(), np.asarray(labels))
    own, of_known = np.split(classifier.coef_, [vectors.shape[1]], axis=1)
    classifier.coef_ = own + (per_word @ of_known.T).T
    classifier.n_features_in_ = vectors.shape[1]
    return lean(pipeline, features)


def _by_feature(features: WordFeatures, known: Mapping[str, Sequence[float]]) -> sparse.csr_matrix:
    """What is known, a row for each hashed feature; of words that share one, the last one counts."""
    is_word = re.compile(features.token_pattern)
    rows = {word: values for word, values in known.items() if is_word.fullmatch(word)}
    hashed = _words(WordFeatures(features.token_pattern, 1, features.hash_bits)).transform(rows)
    last = dict(zip(hashed.indices.tolist(), rows.values(), strict=True))
    columns = len(next(iter(last.values())))
    values = np.array([*last.values()], dtype=np.float64).ravel()
    where = (np.repeat([*last], columns), np.tile(np.arange(columns), len(last)))
    return sparse.csr_matrix((values, where), shape=(2**features.hash_bits, columns))


def full(features: WordFeatures, classifier: Any) -> Pipeline:
    """Return the pipeline to train: column, hashed words, word weights at unit length, classifier."""
    return Pipeline(
        [
            *_column(features),
            ("words", _words(features)),
            ("weights", TfidfTransformer()),
            ("classifier", classifier),
        ]
    )


def lean(trained: Pipeline, features: WordFeatures) -> Pipeline:
    """Return a pipeline that predicts as `trained` does, with one step less and half the bytes.

    Its labels are the same; its scores are on another scale, so `predict_proba` of a classifier that has it means
    nothing any more. `trained` must not be used afterwards: the two share the classifier.
    """
    classifier = trained.named_steps["classifier"]
    weights: NDArray[np.float64] = trained.named_steps["weights"].idf_
    # Fortran order, because predicting multiplies by the transpose: in C order each call would copy the whole matrix.
    classifier.coef_ = np.asfortranarray((classifier.coef_ * weights).astype(np.float32))
    classifier.intercept_ = np.zeros(len(classifier.coef_), dtype=np.float32)
    return Pipeline([*_column(features), ("words", _words(features)), ("classifier", classifier)])


def _column(features: WordFeatures) -> list[tuple[str, FunctionTransformer]]:
    if features.rewriting is None:
        return [("column", FunctionTransformer(itemgetter(TEXT_COLUMN)))]
    # A vectoriser with a preprocessor of its own leaves upper case alone.
    column = FunctionTransformer(attrgetter(f"{TEXT_COLUMN}.str"))
    return [("column", column), ("lower", FunctionTransformer(methodcaller("lower")))]


def _words(features: WordFeatures) -> HashingVectorizer:
    return HashingVectorizer(
        preprocessor=partial(re.sub, *features.rewriting) if features.rewriting else None,
        token_pattern=features.token_pattern,
        ngram_range=(1, features.longest_phrase),
        n_features=2**features.hash_bits,
        binary=True,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
