"""How each of the two registered models comes about: data, training, evaluation. Copy a recipe to make your own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from news import headlines
from news.evaluation import Evaluation, accuracy, evaluate
from news.sentiment_data import SENTIMENTS, load_everyday, load_sentiment_data
from news.sentiment_model import split, train_sentiment_model
from news.topic_data import TOPICS, load_topic_data
from news.topic_model import train_topic_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from news.progress import Steps


@dataclass(frozen=True)
class Trained:
    """A fitted model and how good it is.

    The first evaluation is the one that counts, the others are views from other sides. `metrics` maps names to
    numbers between 0 and 1. `examples` are two or three texts to try.
    """

    model: Pipeline
    evaluations: tuple[Evaluation, ...]
    metrics: dict[str, float]
    examples: tuple[str, ...]


def make_topic_model(cache_dir: Path, progress: Steps) -> Trained:
    """Fetch, train and evaluate the model that says what a text is about. Raises NewsError if data is missing."""
    with progress.step("topic: fetching documents"):
        data = load_topic_data(cache_dir)
    with progress.step(f"topic: training on {len(data.documents):,} documents, windows of them and seed sentences"):
        model = train_topic_model(data.documents)
    with progress.step(f"topic: evaluating on {len(data.test):,} documents"):
        test = evaluate(model, "20newsgroups-test and reuters-r8-test, whole documents", data.test, TOPICS)
        evaluations = [test]
        metrics = {"accuracy": test.accuracy, "macro_f1": test.macro_f1}
        for name, filename, title in (
            ("check", headlines.CHECK, "present-day headlines that no choice was made on"),
            ("development", headlines.DEVELOPMENT, "present-day headlines that choices were made on"),
        ):
            whole = headlines.load_headlines(filename, with_summary=True)
            alone = headlines.load_headlines(filename, with_summary=False)
            evaluations.append(evaluate(model, f"{title}, with summary", whole, TOPICS))
            evaluations.append(evaluate(model, f"{title}, alone", alone, TOPICS))
            metrics[f"{name}_headlines_accuracy"] = evaluations[-2].accuracy
            metrics[f"{name}_titles_accuracy"] = evaluations[-1].accuracy
            metrics[f"{name}_headlines_four_topics_accuracy"] = accuracy(model, whole, headlines.in_four_topics)
    return Trained(
        model=model,
        evaluations=tuple(evaluations),
        metrics=metrics,
        examples=("Technology news", "The striker scored twice in the cup final", "Shares fell as oil prices rose"),
    )


def make_sentiment_model(cache_dir: Path, progress: Steps) -> Trained:
    """Fetch, train and evaluate the model that says how a text sounds. Raises NewsError if data is missing."""
    with progress.step("sentiment: fetching rated texts"):
        data = load_sentiment_data(cache_dir)
        learn, held_out = split(data.snippets)
    with progress.step(f"sentiment: training on {len(learn):,} rated texts, {len(data.words):,} rated words known"):
        model = train_sentiment_model(learn, data.words)
    with progress.step(f"sentiment: evaluating on {len(held_out):,} texts"):
        test = evaluate(model, "a random tenth of the rated texts, held out", held_out, SENTIMENTS)
        everyday = evaluate(model, "everyday sentences, most with a negation", load_everyday(), SENTIMENTS)
    return Trained(
        model=model,
        evaluations=(test, everyday),
        metrics={"accuracy": test.accuracy, "macro_f1": test.macro_f1, "everyday_accuracy": everyday.accuracy},
        examples=(
            "This is wonderful news!",
            "The service was slow and the staff were rude.",
            "The shop opens at nine.",
        ),
    )


RECIPES: Final[dict[str, Callable[[Path, Steps], Trained]]] = {
    "classification": make_topic_model,
    "sentiment": make_sentiment_model,
}
