"""The page that goes with a model: what it is, how good, on what, and what not to use it for.

The words are in ``cards/NAME.md``; the numbers of the very model are put in here.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from news.evaluation import Evaluation

CONFUSION_PNG: Final = "confusion_matrix.png"
SCORES: Final = "<!-- scores -->"
REQUIREMENTS: Final = "<!-- requirements -->"


def description(name: str) -> str:
    """Return the card's first paragraph, one sentence."""
    return _words(name).split("\n\n")[1].replace("\n", " ")


def model_card(name: str, evaluations: Sequence[Evaluation], requirements: Sequence[str]) -> str:
    """Return the card as Markdown. It shows the picture `CONFUSION_PNG`, to be put beside it."""
    picture = f"![Confusion matrix: {evaluations[0].title}]({CONFUSION_PNG})"
    scores = "\n\n".join([*(_scores(evaluation) for evaluation in evaluations), picture])
    pins = "\n".join(f"- `{requirement}`" for requirement in requirements)
    return _words(name).replace(SCORES, scores).replace(REQUIREMENTS, pins)


def _words(name: str) -> str:
    return files("news").joinpath("cards", f"{name}.md").read_text(encoding="utf-8")


def _scores(evaluation: Evaluation) -> str:
    rows = "\n".join(
        f"| {score.label} | {score.precision:.3f} | {score.recall:.3f} | {score.f1:.3f} | {score.texts:,} |"
        for score in evaluation.labels
    )
    return (
        f"### On {evaluation.title}\n\n"
        f"{evaluation.texts:,} texts: **accuracy {evaluation.accuracy:.1%}, macro-F1 {evaluation.macro_f1:.3f}**\n\n"
        f"| label | precision | recall | F1 | texts |\n|---|---|---|---|---|\n{rows}"
    )


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix: counts as text, the share of the true label as colour."""
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels = [score.label for score in evaluation.labels]
    figure = Figure(figsize=(1.6 + 0.85 * len(labels), 1.6 + 0.75 * len(labels)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(f"accuracy {evaluation.accuracy:.1%}, {evaluation.texts:,} texts", fontsize=10)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    return figure
