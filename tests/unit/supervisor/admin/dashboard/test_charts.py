"""Geometry and words of the dashboard."""

import json

import pytest

from headrace.supervisor.admin.dashboard import charts, words


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.004, 0.005), (0.9, 1), (1, 1), (1.01, 2), (13, 20), (20, 20), (4999, 5000), (0.1, 0.1)],
)
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert charts.round_up(value) == pytest.approx(top)


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    series = charts.Series("p50", "first", [1.0, 2.0, None, 4.0], filled=True)
    made = charts.chart("t", [100.0, 102.0, 104.0, 106.0], 106.0, [series], least_top=1.0, word=words.rate)
    assert made.lines[0].path == "M894 80.0L896 60.0"
    assert made.lines[0].area.count("Z") == 1
    assert made.lines[0].alone == "M900 20.0h0", "a point by itself is seen as a spot"
    assert made.summary == "p50 4.0, highest 4.0"
    assert json.loads(made.data)["series"] == [["1.0", "2.0", None, "4.0"]]


def test_what_happened_is_marked_where_it_is_in_the_picture() -> None:
    events = [(50.0, "old"), (500.0, "covered"), (550.0, "2"), (990.0, "3")]
    made = charts.chart("t", [], 1000.0, [], least_top=1.0, word=words.rate, events=events)
    assert [(m.x, m.text, m.anchor) for m in made.marks] == [
        (44.44, "", "start"),
        (50.0, "2", "start"),
        (98.89, "3", "end"),
    ]
    assert made.summary == "nothing in the last 15 minutes"


def test_a_spark_ends_at_the_right_and_is_nothing_without_traffic() -> None:
    assert charts.spark([0.0, 0.0], 75) == ""
    assert charts.spark([0.0, 5.0], 76) == "M888 100.0L900 0.0"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (words.rate(0), "0"),
        (words.rate(0.04), "< 0.1"),
        (words.rate(12.34), "12.3"),
        (words.rate(12345.6), "12,346"),
        (words.milliseconds(None), words.NOTHING),
        (words.milliseconds(0.00042), "0.42 ms"),
        (words.milliseconds(0.0123), "12.3 ms"),
        (words.milliseconds(0.25), "250 ms"),
        (words.milliseconds(2.5), "2.5 s"),
        (words.share(None), words.NOTHING),
        (words.share(0.0), "0 %"),
        (words.share(0.0004), "< 0.1 %"),
        (words.share(0.012), "1.2 %"),
        (words.share(0.5), "50 %"),
        (words.ago(None, 5.0), "never"),
        (words.ago(100.0, 104.0), "4 s ago"),
        (words.span(600.0), "10 min"),
        (words.span(3 * 86_400.0), "3 days"),
    ],
)
def test_numbers_as_people_read_them(made: str, text: str) -> None:
    assert made == text
