"""Models searched, filtered, sorted and grouped."""

import pytest

from headrace.supervisor.admin.dashboard.listing import ATTENTION, MOST_SHOWN, Condition, Entry, Listing, View, arrange

SERVING, FAILED, BUSY = Condition("serving", "good"), Condition("failed", "bad"), Condition("updating", "busy")


def entry(name: str, condition: Condition = SERVING, rate: float = 0.0, p99: float | None = None) -> Entry:
    return Entry(name, condition, f"{name}/3", {"rate": rate, "p99": p99})


MODELS = [
    entry("nlp-topic", rate=2.0, p99=0.2),
    entry("nlp-mood", FAILED),
    entry("ads.clicks", BUSY, rate=30.0, p99=0.01),
    entry("Churn", rate=4.0, p99=0.05),
]


def names(listing: Listing) -> list[str]:
    return [e.name for group in listing.groups for e in group.entries]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ({}, ["nlp-mood", "ads.clicks", "nlp-topic", "Churn"]),
        ({"q": "NLP"}, ["nlp-mood", "nlp-topic"]),
        ({"q": "nlp failed"}, ["nlp-mood"]),
        ({"q": "/3 topic"}, ["nlp-topic"]),
        ({"q": "nothing"}, []),
        ({"state": "serving"}, ["nlp-topic", "Churn"]),
        ({"state": ATTENTION}, ["nlp-mood", "ads.clicks"]),
        ({"sort": "name"}, ["ads.clicks", "Churn", "nlp-mood", "nlp-topic"]),
        ({"sort": "-name"}, ["nlp-topic", "nlp-mood", "Churn", "ads.clicks"]),
        ({"sort": "-rate"}, ["ads.clicks", "Churn", "nlp-topic", "nlp-mood"]),
        ({"sort": "p99"}, ["ads.clicks", "Churn", "nlp-topic", "nlp-mood"]),
        ({"sort": "-p99"}, ["nlp-topic", "Churn", "ads.clicks", "nlp-mood"]),
        ({"sort": "nonsense", "group": "nonsense"}, ["nlp-mood", "ads.clicks", "nlp-topic", "Churn"]),
    ],
)
def test_what_an_address_asks_for(address: dict[str, str], shown: list[str]) -> None:
    assert names(arrange(MODELS, View.asked(address))) == shown


def test_groups_say_how_they_are_and_can_be_closed() -> None:
    view = View.asked({"group": "name", "sort": "-rate"})
    listed = arrange(MODELS, view)
    assert [(g.name, g.size, g.unwell, g.rate) for g in listed.groups] == [
        ("ads", 1, 1, 30.0),
        ("Churn", 1, 0, 4.0),
        ("nlp", 2, 1, 2.0),
    ]
    closed = arrange(MODELS, View.asked({"group": "name"}, sorted(view.toggled("nlp"))))
    assert names(closed) == ["ads.clicks", "Churn"]
    assert [(g.name, g.size) for g in closed.groups][2] == ("nlp", 2)
    by_state = arrange(MODELS, View.asked({"group": "state"}))
    assert [g.name for g in by_state.groups] == ["failed", "updating", "serving"]


def test_the_filters_count_what_is_found() -> None:
    listed = arrange(MODELS, View.asked({"q": "nlp"}))
    assert listed.states == ((ATTENTION, 1, "bad"), ("failed", 1, "bad"), ("serving", 1, "good"))
    assert (listed.all, listed.found, listed.left) == (4, 2, 0)
    assert arrange(MODELS[:1], View()).states == (("serving", 1, "good"),)


def test_a_long_list_is_shown_in_part_unless_all_of_it_is_asked_for() -> None:
    many = [entry(f"model-{n}") for n in range(MOST_SHOWN + 7)]
    listed = arrange(many, View())
    assert (len(names(listed)), listed.found, listed.left) == (MOST_SHOWN, MOST_SHOWN + 7, 7)
    assert len(names(arrange(many, View.asked({"show": "all"})))) == MOST_SHOWN + 7


def test_an_address_has_all_that_was_chosen_and_nothing_else() -> None:
    view = View.asked({"q": " two words ", "state": "failed", "sort": "-p99", "group": "name", "show": "all"}, ["a&b"])
    link = view.link()
    assert link == "/?q=two+words&state=failed&sort=-p99&group=name&show=all&closed=a%26b"
    assert View().link() == "/?"
    assert view.link(search="", state="", whole=False, closed=()) == "/?sort=-p99&group=name"
    assert View(search="x" * 200).search == "x" * 200
    assert len(View.asked({"q": "x" * 5000}).search) == 100


def test_a_column_is_sorted_in_its_usual_order_first() -> None:
    assert View().sorted_by("rate") == "-rate"
    assert View(sort="-rate").sorted_by("rate") == "rate"
    assert View(sort="rate").sorted_by("rate") == "-rate"
    assert View(sort="-rate").sorted_by("name") == "name"
    assert (View(sort="-rate").order_of("rate"), View(sort="-rate").order_of("name")) == ("descending", "none")
