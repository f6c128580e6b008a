"""Parsing: what the files say is what the models learn from."""

import numpy as np
import pytest

from news.errors import NewsError
from news.headlines import CHECK, DEVELOPMENT, FOUR_TOPICS, in_four_topics, load_headlines
from news.labelled import Labelled, texts_and_labels
from news.seed_terms import load_vocabulary, neutral_sentences, other_number, parse_vocabulary, sentences
from news.sentiment_data import rated, sentiment_of_rating
from news.topic_data import TOPICS, posts, stories, topic_of_newsgroup
from news.windows import windows, without_artefacts

HEADER = "Category\tText\nd\tstring\nclass\t\n"


@pytest.mark.parametrize(
    ("newsgroup", "topic"),
    [
        ("comp.sys.mac.hardware", "technology"),
        ("sci.electronics", "technology"),
        ("sci.crypt", "technology"),
        ("rec.sport.hockey", "sports"),
        ("talk.politics.mideast", "politics"),
        ("sci.space", "science"),
        ("sci.med", "health"),
        ("rec.autos", None),
        ("talk.religion.misc", None),
        ("alt.atheism", None),
    ],
)
def test_newsgroups_map_to_topics(newsgroup: str, topic: str | None) -> None:
    assert topic_of_newsgroup(newsgroup) == topic


def test_posts_of_other_groups_and_empty_posts_are_left_out() -> None:
    content = HEADER + "sci.med\tabout medicine\nalt.atheism\tabout gods\nsci.space\t \nrec.sport.hockey\ta puck\n"
    assert posts(content) == [Labelled("health", "about medicine"), Labelled("sports", "a puck")]


def test_every_story_is_business() -> None:
    assert stories(HEADER + "earn\tnet profit\ngrain\twheat\n") == [
        Labelled("business", "net profit"),
        Labelled("business", "wheat"),
    ]


def test_a_line_that_is_no_document_is_an_error_with_its_number() -> None:
    with pytest.raises(NewsError, match="line 5"):
        stories(HEADER + "earn\tnet profit\nno tab here\n")


@pytest.mark.parametrize(
    ("rating", "label"),
    [(4.0, "positive"), (0.51, "positive"), (0.5, "neutral"), (0.0, "neutral"), (-0.5, "neutral"), (-0.51, "negative")],
)
def test_ratings_map_to_sentiments(rating: float, label: str) -> None:
    assert sentiment_of_rating(rating) == label


def test_rated_lines_keep_their_text_as_it_is() -> None:
    content = "1\t2.5\tLove it, don't you?\r\n2\t-1.0\tlatin \x85 inside\n\n"
    assert list(rated(content, rating_column=1, text_column=2)) == [
        Labelled("positive", "Love it, don't you?"),
        Labelled("negative", "latin \x85 inside"),
    ]


@pytest.mark.parametrize("line", ["1\tgood\ttext", "1\t2.5", "only text"])
def test_a_line_without_a_rating_is_an_error(line: str) -> None:
    with pytest.raises(NewsError, match="line 2"):
        list(rated(f"1\t0.0\tfine\n{line}\n", rating_column=1, text_column=2))


def test_artefacts_of_the_medium_are_removed_and_content_is_kept() -> None:
    post = "re shuttle launch in article joe pat acc edu joe smith writes the engine failed reuter"
    assert without_artefacts(post) == "shuttle launch the engine failed"


def test_windows_are_runs_of_a_documents_words() -> None:
    words = [f"w{number}" for number in range(200)]
    found = list(windows([Labelled("science", " ".join(words))], per_document=50, rng=np.random.default_rng(0)))
    assert len(found) == 50
    for label, text in found:
        window = text.split()
        start = int(window[0].removeprefix("w"))
        assert label == "science"
        assert 8 <= len(window) <= 40
        assert window == words[start : start + len(window)]
    assert any(text.startswith("w0 ") for _, text in found)


def test_short_documents_are_given_once_and_tiny_ones_not_at_all() -> None:
    documents = [Labelled("health", "one two three four five six seven"), Labelled("health", "too short")]
    found = list(windows(documents, per_document=3, rng=np.random.default_rng(0)))
    assert found == [Labelled("health", "one two three four five six seven")]


def test_a_vocabulary_is_sections_of_terms() -> None:
    vocabulary = parse_vocabulary("# words\n[a]\none, two words,\none\n\n[every topic]\nnew, says\n[b]\nthree\n")
    assert vocabulary.terms == {"a": ("one", "two words"), "b": ("three",)}
    assert vocabulary.fillers == ("new", "says")


@pytest.mark.parametrize(("content", "problem"), [("one, two", "line 1"), ("[a]\none", "no section")])
def test_a_vocabulary_without_its_sections_is_an_error(content: str, problem: str) -> None:
    with pytest.raises(NewsError, match=problem):
        parse_vocabulary(content)


def test_seed_sentences_hold_terms_of_their_topic_and_fillers_only() -> None:
    vocabulary = parse_vocabulary("[a]\nalpha, aleph\n[b]\nbeta\n[every topic]\nnew, says\n")
    found = list(sentences(vocabulary, per_topic=20, rng=np.random.default_rng(0)))
    assert [label for label, _ in found] == ["a"] * 20 + ["b"] * 20
    for label, text in found:
        words = set(text.split())
        terms = {*vocabulary.terms[label], *map(other_number, vocabulary.terms[label])}
        assert words <= {"new", "says", *terms}
        assert words & terms
    neutral = list(neutral_sentences(vocabulary, count=5, rng=np.random.default_rng(0)))
    assert len(neutral) == 5
    assert all(label == "neutral" and set(text.split()) <= {"new", "says"} for label, text in neutral)


@pytest.mark.parametrize(
    ("term", "other"),
    [("vote", "votes"), ("votes", "vote"), ("virus", "viruss"), ("prime minister", "prime ministers")],
)
def test_terms_change_number_by_a_final_s(term: str, other: str) -> None:
    assert other_number(term) == other


def test_the_vocabulary_has_every_topic() -> None:
    vocabulary = load_vocabulary()
    assert sorted(vocabulary.terms) == list(TOPICS)
    assert all(len(terms) > 100 for terms in vocabulary.terms.values())
    assert len(vocabulary.fillers) > 100


def test_the_headlines_are_labelled_with_our_topics_and_in_one_file_only() -> None:
    development = load_headlines(DEVELOPMENT, with_summary=False)
    check = load_headlines(CHECK, with_summary=False)
    assert len(development) >= 120
    assert len(check) >= 60
    for headlines in (development, check):
        texts, labels = texts_and_labels(headlines)
        assert set(labels) == set(TOPICS)
        assert len(set(texts)) == len(texts)
    assert not {text for _, text in development} & {text for _, text in check}
    with_summary = load_headlines(CHECK, with_summary=True)
    assert all(long.text.startswith(short.text + ". ") for long, short in zip(with_summary, check, strict=True))


def test_four_topics_make_one_of_three() -> None:
    assert set(in_four_topics(TOPICS)) == set(FOUR_TOPICS)
    assert in_four_topics(["science", "politics"]) == [FOUR_TOPICS[-1], "politics"]
