"""When a certificate's end is worth a warning."""

import pytest

from headrace.core.security.expiry import notice_s, spell, trouble

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("life_days", "notice_days"),
    [
        (1.0, 0.2),  # short lives of a mesh
        (90.0, 18.0),  # cert-manager renews 30 days before its end
        (365.0, 21.0),
    ],
)
def test_the_notice_is_shorter_than_what_is_left_when_others_renew(life_days: float, notice_days: float) -> None:
    assert notice_s(0.0, life_days * DAY_S) == pytest.approx(notice_days * DAY_S)
    assert notice_s(0.0, life_days * DAY_S) < life_days * DAY_S / 3


def test_what_is_wrong_with_its_time_is_told_and_nothing_else() -> None:
    begins_s, ends_s = 10 * DAY_S, 100 * DAY_S
    assert trouble(begins_s, ends_s, 50 * DAY_S) is None
    assert trouble(begins_s, ends_s, 99 * DAY_S) == "it expires in 1 day"
    assert trouble(begins_s, ends_s, ends_s) == "it expired less than a minute ago"
    assert trouble(begins_s, ends_s, ends_s + 2 * DAY_S) == "it expired 2 days ago"
    assert "clock" in str(trouble(begins_s, ends_s, 9 * DAY_S))


def test_a_time_is_told_in_the_largest_unit_that_it_has() -> None:
    assert [spell(s) for s in (59, 60, 7200, 3 * DAY_S)] == ["less than a minute", "1 minute", "2 hours", "3 days"]
