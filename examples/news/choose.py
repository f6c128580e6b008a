"""The command that compares settings by cross-validation: how the models' settings were chosen.

    python -m news.choose classification --cache-dir DIR

It never looks at the test files, at the held-out tenth or at the check headlines. Minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.model_selection import StratifiedKFold

from news import sentiment_model, topic_model
from news.errors import NewsError
from news.evaluation import evaluate
from news.headlines import DEVELOPMENT, load_headlines
from news.sentiment_data import SENTIMENTS, load_sentiment_data
from news.topic_data import TOPICS, load_topic_data
from news.windows import windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from news.labelled import Labelled

FOLDS: Final = 3
SEED: Final = 1


def topic_candidates() -> dict[str, topic_model.TopicSettings]:
    """Return the chosen settings and, by what is different, its neighbours."""
    chosen = topic_model.CHOSEN
    words = chosen.features
    return {
        "chosen": chosen,
        "penalty 0.1": replace(chosen, penalty=0.1),
        "penalty 1": replace(chosen, penalty=1.0),
        "no windows": replace(chosen, windows_per_document=0),
        "1 window": replace(chosen, windows_per_document=1),
        "no seed sentences": replace(chosen, sentences_per_topic=0),
        "2,000 seed sentences": replace(chosen, sentences_per_topic=2000),
        "phrases of 2 words": replace(chosen, features=replace(words, longest_phrase=2, hash_bits=20)),
    }


def sentiment_candidates() -> dict[str, sentiment_model.SentimentSettings]:
    """Return the chosen settings and, by what is different, its neighbours."""
    chosen = sentiment_model.CHOSEN
    words = chosen.features
    return {
        "chosen": chosen,
        "penalty 2": replace(chosen, penalty=2.0),
        "penalty 8": replace(chosen, penalty=8.0),
        "neutral weighs no more": replace(chosen, neutral_weight=1.0),
        "neutral weighs 1.6": replace(chosen, neutral_weight=1.6),
        "no neutral sentences": replace(chosen, neutral_sentences=0),
        "no negated words": replace(chosen, negated_words=0),
        "letters and digits only": replace(chosen, features=replace(words, token_pattern=r"(?u)\b\w\w+\b")),
        "single words": replace(chosen, features=replace(words, longest_phrase=1)),
        "half the hash": replace(chosen, features=replace(words, hash_bits=words.hash_bits - 1)),
    }


def compare_topic_settings(cache_dir: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each candidate's name and its mean accuracies: on held-out documents, windows of them, headlines."""
    documents = load_topic_data(cache_dir).documents
    headlines = load_headlines(DEVELOPMENT, with_summary=True)
    titles = load_headlines(DEVELOPMENT, with_summary=False)
    for name, settings in topic_candidates().items():

        def scores(learn: list[Labelled], check: list[Labelled], settings: Any = settings) -> dict[str, float]:
            model = topic_model.train_topic_model(learn, settings)
            short = list(windows(check, per_document=1, rng=np.random.default_rng(SEED)))
            tests = {"documents": check, "windows": short, "headlines": headlines, "titles": titles}
            return {what: evaluate(model, what, texts, TOPICS).accuracy for what, texts in tests.items()}

        yield name, mean_over_folds(documents, scores)


def compare_sentiment_settings(cache_dir: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each candidate's name and its mean accuracy and macro-F1 on held-out texts."""
    data = load_sentiment_data(cache_dir)
    learnable, _ = sentiment_model.split(data.snippets)
    for name, settings in sentiment_candidates().items():

        def scores(learn: list[Labelled], check: list[Labelled], settings: Any = settings) -> dict[str, float]:
            model = sentiment_model.train_sentiment_model(learn, data.words, settings)
            evaluation = evaluate(model, "held-out texts", check, SENTIMENTS)
            return {"accuracy": evaluation.accuracy, "macro-F1": evaluation.macro_f1}

        yield name, mean_over_folds(learnable, scores)


def mean_over_folds(
    examples: Sequence[Labelled], scores: Callable[[list[Labelled], list[Labelled]], dict[str, float]]
) -> dict[str, float]:
    """Call `scores` with each fold's (to learn from, to check with) and return the mean of each number."""
    labels = [example.label for example in examples]
    found = [
        scores([examples[index] for index in learn], [examples[index] for index in check])
        for learn, check in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(labels, labels)
    ]
    return {what: sum(fold[what] for fold in found) / len(found) for what in found[0]}


COMPARISONS: Final = {"classification": compare_topic_settings, "sentiment": compare_sentiment_settings}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the candidates and return the exit code: 0, or 1 if the data cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m news.choose", description="Compare settings by cross-validation.")
    parser.add_argument("model", choices=tuple(COMPARISONS))
    parser.add_argument("--cache-dir", type=Path, default=Path(".demo/cache"), help="downloads (default: .demo/cache)")
    options = parser.parse_args(arguments)
    print(f"{options.model}: mean of {FOLDS} folds")
    header_shown = False
    try:
        for name, numbers in COMPARISONS[options.model](options.cache_dir):
            if not header_shown:
                print(_row("settings", numbers))
                header_shown = True
            print(_row(name, (f"{number:.4f}" for number in numbers.values())), flush=True)
    except NewsError as error:
        print(f"news.choose: {error}", file=sys.stderr)
        return 1
    return 0


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
