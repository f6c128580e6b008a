"""Dates with a zone, as the same moment in UTC without one."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_worker.scoring.repairing.moments import all_without_zone, in_utc, without_zone
from tests.unit.worker.models import ask, load
from tests.unit.worker.scoring.repairing.sent import DATES, assert_equal, forms, relaxed, seen

pytestmark = pytest.mark.filterwarnings("ignore")


moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - Hypothesis wants them so
offsets = st.integers(-23 * 60, 23 * 60)


@st.composite
def dated(draw: st.DrawFn) -> tuple[str, str]:
    """(a date as a client may write it, the same in UTC without a zone)."""
    moment, minutes = draw(moments), draw(offsets)
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    local = moment.replace(tzinfo=dt.UTC).astimezone(zone)
    text = local.isoformat(timespec=draw(st.sampled_from(["microseconds", "auto"])))
    if minutes == 0:
        text = text.replace("+00:00", draw(st.sampled_from(["Z", "z", "+00", "+0000", "+00:00"])))
    return text, moment.isoformat(timespec="microseconds")


@relaxed
@given(st.lists(dated(), min_size=1, max_size=4))
def test_dates_with_a_zone_become_utc_in_all_forms(dates: list[tuple[str, str]]) -> None:
    sent, normal = (forms([{"n": 1, "t": pair[k]} for pair in dates]) for k in (0, 1))
    assert_equal(DATES, sent, normal)


@relaxed
@given(dated())
def test_a_date_is_the_same_moment_to_the_nanosecond(pair: tuple[str, str]) -> None:
    text = without_zone(pair[0])
    assert text is not None
    assert dt.datetime.fromisoformat(text) == dt.datetime.fromisoformat(pair[1])
    assert without_zone("2024-02-29T12:34:56.123456789+02:00") == "2024-02-29T10:34:56.123456789"


NO_DATES = st.sampled_from(
    [
        "",
        "Z",
        "NaT",
        "today",
        "2024-02-29",
        "2024-02-29T12:34:56.Z",
        "2024-02-29T12:34:56Z+01:00",
        "1600-01-01T00:00:00Z",
    ]
)


@given(st.lists(dated().map(lambda pair: pair[0]), max_size=6), st.lists(NO_DATES | st.text(max_size=30), max_size=1))
def test_many_dates_at_once_are_those_one_by_one(texts: list[str], others: list[str]) -> None:
    values = [*texts, *others, None, 1.5]
    assert all_without_zone(values) == {text: without_zone(text) for text in (*texts, *others)}


@given(st.lists(dated().map(lambda pair: pair[0]), min_size=1, max_size=6))
def test_moments_of_a_column_are_those_of_its_texts(texts: list[str]) -> None:
    moments = in_utc(texts)
    if moments is not None:
        assert np.datetime_as_string(moments).tolist() == [without_zone(text) for text in texts]


def test_a_column_of_usual_dates_is_read_at_once_and_one_with_anything_else_is_not() -> None:
    usual = ["2024-02-29T12:34:56Z", "2024-02-29T12:34:56.5+05:30"]
    moments = in_utc(usual)
    assert moments is not None
    assert moments.astype(str).tolist() == ["2024-02-29T12:34:56.000000000", "2024-02-29T07:04:56.500000000"]
    for other in (None, 1.5, "2024-02-29", "2024-02-29T12:34:56", "2024-02-30T12:34:56Z", "1600-01-01T00:00:00Z"):
        assert in_utc([*usual, other]) is None


@pytest.mark.parametrize(
    "text", ["soon", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00+24:00", "0001-01-01T00:00+01", "9" * 99]
)
def test_what_is_no_date_stays_as_it_is(text: str) -> None:
    assert without_zone(text) is None
    scorer, impl = load(seen, DATES, errors="strict")
    (answer,) = ask(scorer, {"dataframe_records": [{"n": 1, "t": "2024-01-01T00:00:00Z"}, {"n": 1, "t": text}]})
    assert (answer.status, impl.calls) == (400, [])
