"""How long a frame for an idle worker waits for company: never when alone, and never for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.gathering import MOST_LOOKS, Gathering


def looks(begin: int, counts: list[int]) -> int:
    """How many looks a burst takes when so many requests wait after each."""
    gathering = Gathering()
    gathering.begin(begin)
    for number, count in enumerate(counts, 1):
        if not gathering.goes_on(count):
            return number
    return len(counts) + 1


def test_a_lone_request_goes_after_the_first_look() -> None:
    assert looks(1, [1]) == 1


def test_a_burst_goes_once_a_look_brings_nothing_more() -> None:
    assert looks(1, [5, 9, 9, 12]) == 3


@given(st.integers(1, 9), st.lists(st.integers(0, 500), min_size=MOST_LOOKS, max_size=MOST_LOOKS))
def test_a_stream_of_requests_keeps_no_frame_back(begin: int, counts: list[int]) -> None:
    assert looks(begin, counts) <= MOST_LOOKS


def test_the_next_burst_begins_anew() -> None:
    gathering = Gathering()
    for _ in range(2):
        gathering.begin(1)
        assert gathering.goes_on(2)
        assert not gathering.goes_on(2)
