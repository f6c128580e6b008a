"""Pipelines, scores and cards, on texts small enough to read."""

from dataclasses import replace

import numpy as np
import pytest

# scipy and scikit-learn warn about each other's future while they are imported.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

from news.evaluation import accuracy, evaluate  # noqa: E402
from news.labelled import Labelled  # noqa: E402
from news.model_card import CONFUSION_PNG, confusion_figure, description, model_card  # noqa: E402
from news.pipelines import WordFeatures, full, lean, text_frame, train  # noqa: E402
from news.sentiment_data import SENTIMENTS, load_everyday  # noqa: E402
from news.sentiment_model import REWRITING, split  # noqa: E402

FEATURES = WordFeatures(token_pattern=r"(?u)\b\w\w+\b", longest_phrase=2, hash_bits=12)
EXAMPLES = [
    Labelled("sports", "the striker scored a late goal"),
    Labelled("sports", "a goal in the cup final"),
    Labelled("sports", "the team won the match"),
    Labelled("business", "shares and profits fell"),
    Labelled("business", "the company cut its profits forecast"),
    Labelled("business", "shares rose after the takeover"),
    Labelled("politics", "the minister lost the vote"),
    Labelled("politics", "parliament debates the vote"),
]


@pytest.mark.parametrize(
    "classifier",
    [
        LinearSVC(C=1.0, fit_intercept=False, class_weight="balanced", random_state=0),
        LogisticRegression(C=1.0, fit_intercept=False),
    ],
    ids=["svm", "logistic"],
)
def test_the_lean_pipeline_answers_as_the_full_one(classifier: object) -> None:
    rng = np.random.default_rng(0)
    words = [*" ".join(text for _, text in EXAMPLES).split(), "unknown", "words"]
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 30))) for _ in range(500)]
    trained = full(FEATURES, classifier)
    trained.fit(text_frame([text for _, text in EXAMPLES]), [label for label, _ in EXAMPLES])
    before = list(trained.predict(text_frame(texts)))
    after = list(lean(trained, FEATURES).predict(text_frame(texts)))
    assert len(set(before)) == 3
    assert after == before


def test_there_is_one_answer_a_row_and_it_depends_on_that_row_only() -> None:
    model = train(FEATURES, LinearSVC(fit_intercept=False, random_state=0), EXAMPLES)
    texts = ["a goal", "profits", "the vote"]
    assert list(model.predict(text_frame(texts))) == ["sports", "business", "politics"]
    assert [model.predict(text_frame([text]))[0] for text in texts] == ["sports", "business", "politics"]
    more = text_frame(texts).assign(author="the goal of a vote")
    assert list(model.predict(more)) == ["sports", "business", "politics"]


def test_what_a_negation_is_about_is_another_word_and_what_is_known_of_it_counts() -> None:
    features = replace(FEATURES, rewriting=REWRITING)
    known = {"fine": (1.0, 0.0), "not_fine": (0.0, 1.0), "awful": (0.0, 1.0), "not_awful": (1.0, 0.0)}
    learn = [
        Labelled("good", "a fine day"),
        Labelled("bad", "an awful day"),
        Labelled("good", "fine"),
        Labelled("bad", "awful"),
    ]
    model = train(features, LogisticRegression(C=10.0, fit_intercept=False), learn, known)
    texts = ["Not fine", "It isn't a fine thing", "NEVER awful", "no really awful day", "fine, not that", "awful"]
    assert list(model.predict(text_frame(texts))) == ["bad", "bad", "good", "good", "good", "bad"]
    assert [model.predict(text_frame([text]))[0] for text in texts] == list(model.predict(text_frame(texts)))


def test_the_everyday_sentences_are_sixty_and_most_have_a_negation() -> None:
    sentences = load_everyday()
    assert len({text for _, text in sentences}) == 60
    assert {label for label, _ in sentences} == set(SENTIMENTS)


def test_predicting_needs_no_copy_of_the_coefficients() -> None:
    model = train(FEATURES, LinearSVC(fit_intercept=False, random_state=0), EXAMPLES)
    assert model.named_steps["classifier"].coef_.T.flags.c_contiguous


def test_the_held_out_tenth_has_each_labels_share_and_is_always_the_same() -> None:
    snippets = [Labelled("positive", f"good {number}") for number in range(300)]
    snippets += [Labelled("negative", f"bad {number}") for number in range(100)]
    learn, held_out = split(snippets)
    assert sorted(learn + held_out) == sorted(snippets)
    assert sum(label == "positive" for label, _ in held_out) == 30
    assert sum(label == "negative" for label, _ in held_out) == 10
    assert split(snippets) == (learn, held_out)


def test_an_evaluation_counts_right_and_wrong_answers() -> None:
    model = train(FEATURES, LinearSVC(fit_intercept=False, random_state=0), EXAMPLES)
    test = [
        Labelled("sports", "a goal"),
        Labelled("sports", "profits"),
        Labelled("business", "shares"),
        Labelled("politics", "vote"),
    ]
    evaluation = evaluate(model, "four texts", test, ("business", "politics", "sports"))
    assert evaluation.texts == 4
    assert evaluation.accuracy == pytest.approx(0.75)
    assert evaluation.confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 1))
    business, politics, sports = evaluation.labels
    assert (business.precision, business.recall) == (0.5, 1.0)
    assert (politics.f1, politics.texts) == (1.0, 1)
    assert (sports.precision, sports.recall, sports.texts) == (1.0, 0.5, 2)
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert accuracy(model, test, lambda labels: ["any" for _ in labels]) == 1.0


@pytest.mark.parametrize("name", ["classification", "sentiment"])
def test_a_card_says_what_it_is_how_good_and_with_what(name: str) -> None:
    model = train(FEATURES, LinearSVC(fit_intercept=False, random_state=0), EXAMPLES)
    evaluation = evaluate(model, "the training texts", EXAMPLES, ("business", "politics", "sports"))
    card = model_card(name, [evaluation], ["scikit-learn==1.2.3"])
    assert card.startswith(f"# {name}\n\n{description(name)}\n\n")
    assert description(name).endswith(".")
    assert "On the training texts" in card
    assert "accuracy 100.0%, macro-F1 1.000" in card
    assert "| sports | 1.000 | 1.000 | 1.000 | 3 |" in card
    assert f"]({CONFUSION_PNG})" in card
    assert "- `scikit-learn==1.2.3`" in card
    assert "<!--" not in card


def test_the_confusion_matrix_is_drawn_with_its_counts() -> None:
    model = train(FEATURES, LinearSVC(fit_intercept=False, random_state=0), EXAMPLES)
    figure = confusion_figure(evaluate(model, "", EXAMPLES, ("business", "politics", "sports")))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "0", "0", "0", "2", "0", "0", "0", "3"]
