"""The sentiment data: short texts that people rated from -4 (most negative) to 4 (most positive), and rated words.

Both lie in the source archive of vaderSentiment, made by C. J. Hutto and E. Gilbert (ICWSM 2014): tweets, sentences
of movie and product reviews, sentences of newspaper editorials; and the lexicon of the VADER rules.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from news.archives import VADER, fetch, read_tar_member
from news.errors import NewsError
from news.labelled import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SENTIMENTS: Final = ("negative", "neutral", "positive")

EVERYDAY: Final = "everyday.tsv"

FOLDER: Final = "vaderSentiment-3.3.2/"
INNER: Final = FOLDER + "additional_resources/hutto_ICWSM_2014.tar.gz"
INNER_SHA256: Final = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
LEXICON: Final = FOLDER + "vaderSentiment/vader_lexicon.txt"
LEXICON_SHA256: Final = "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5"
SHA256: Final = {
    "amazonReviewSnippets_GroundTruth.txt": "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    "movieReviewSnippets_GroundTruth.txt": "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    "nytEditorialSnippets_GroundTruth.txt": "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    "tweets_GroundTruth.txt": "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
}
# A mean rating beyond this, on either side of zero, is no longer neutral.
NEUTRAL_UP_TO: Final = 0.5


@dataclass(frozen=True)
class SentimentData:
    """`snippets` are rated texts with our three labels, `words` the ratings of words and emoticons, from -4 to 4."""

    snippets: tuple[Labelled, ...]
    words: Mapping[str, float]


def load_sentiment_data(cache_dir: Path) -> SentimentData:
    """Fetch the archive if need be and parse it. Raises NewsError if it cannot be had or is not the pinned one."""
    source = fetch(VADER, cache_dir)
    inner = read_tar_member(source, INNER, INNER_SHA256)
    snippets: list[Labelled] = []
    for name, sha256 in SHA256.items():
        content = read_tar_member(inner, f"hutto_ICWSM_2014/{name}", sha256).decode("latin-1")
        snippets += rated(content, rating_column=1, text_column=2)
    words = ratings(read_tar_member(source, LEXICON, LEXICON_SHA256).decode(), rating_column=1, text_column=0)
    return SentimentData(snippets=tuple(snippets), words={text: rating for rating, text in words})


def load_everyday() -> list[Labelled]:
    """Return the sentences of this package's file, written before any model was asked; most of them have a negation."""
    lines = files("news").joinpath(EVERYDAY).read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Labelled(row["sentiment"], row["text"]) for row in rows]


def sentiment_of_rating(rating: float) -> str:
    """Return our label for a mean rating between -4 and 4."""
    if rating > NEUTRAL_UP_TO:
        return "positive"
    return "negative" if rating < -NEUTRAL_UP_TO else "neutral"


def rated(content: str, *, rating_column: int, text_column: int) -> Iterator[Labelled]:
    """Yield one example a line."""
    for rating, text in ratings(content, rating_column=rating_column, text_column=text_column):
        yield Labelled(sentiment_of_rating(rating), text)


def ratings(content: str, *, rating_column: int, text_column: int) -> Iterator[tuple[float, str]]:
    """Yield (rating, text) of each line. Only line feeds end a line: latin-1 texts hold other 'line ends' inside."""
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        try:
            yield float(fields[rating_column]), fields[text_column]
        except (IndexError, ValueError) as error:
            raise NewsError(f"line {number} of a rated file is not 'rating<tab>text': {line[:60]!r}") from error
