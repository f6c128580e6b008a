"""How often a model is right, and what it takes for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from news.labelled import texts_and_labels
from news.pipelines import text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from news.labelled import Labelled


@dataclass(frozen=True)
class LabelScore:
    """Precision, recall and F1 of one label, each between 0 and 1, and how many texts truly have it."""

    label: str
    precision: float
    recall: float
    f1: float
    texts: int


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on one test set, `title` says which.

    `accuracy` and `macro_f1` are between 0 and 1. ``confusion[i][j]`` counts the texts with label `i` that were
    given label `j`, in the order of `labels`.
    """

    title: str
    texts: int
    accuracy: float
    macro_f1: float
    labels: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]


def evaluate(model: Any, title: str, examples: Sequence[Labelled], labels: Sequence[str]) -> Evaluation:
    """Ask the model for all examples in one call and score it. `labels` are all that may occur, in order."""
    texts, truth = texts_and_labels(examples)
    answers = [str(answer) for answer in model.predict(text_frame(texts))]
    order = list(labels)
    precision, recall, f1, support = precision_recall_fscore_support(truth, answers, labels=order, zero_division=0)
    return Evaluation(
        title=title,
        texts=len(texts),
        accuracy=float(accuracy_score(truth, answers)),
        macro_f1=float(f1_score(truth, answers, average="macro", labels=order, zero_division=0)),
        labels=tuple(
            LabelScore(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, label in enumerate(labels)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion_matrix(truth, answers, labels=order)),
    )


def accuracy(model: Any, examples: Sequence[Labelled], relabel: Callable[[Iterable[str]], list[str]]) -> float:
    """Return the share of right answers, between 0 and 1, after `relabel` was applied to truth and answers."""
    texts, truth = texts_and_labels(examples)
    answers = (str(answer) for answer in model.predict(text_frame(texts)))
    return float(accuracy_score(relabel(truth), relabel(answers)))
