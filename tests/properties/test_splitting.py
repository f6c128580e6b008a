"""Shares of the traffic are exact, sticky, and move only what must move."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.shadowing import MOST_COPIES, Shadowing
from headrace.core.serving.splitting import point_of, share_at, stride_of

WEIGHTS = st.lists(st.integers(0, 200), min_size=1, max_size=5).filter(lambda w: sum(w) > 0)


@given(weights=WEIGHTS, begin=st.integers(0, 10_000))
def test_every_run_of_as_many_requests_as_the_weights_sum_up_to_is_divided_exactly(
    weights: list[int], begin: int
) -> None:
    total = sum(weights)
    stride = stride_of(total)
    shares = list(enumerate(weights))
    found = Counter(share_at(shares, (begin + n) * stride % total) for n in range(total))
    assert [found[n] for n in range(len(weights))] == weights


@given(weights=WEIGHTS, key=st.binary(max_size=40), salt=st.binary(max_size=100))
def test_a_key_lands_on_one_share_that_has_a_weight(weights: list[int], key: bytes, salt: bytes) -> None:
    total = sum(weights)
    point = point_of(key, salt, total)
    assert 0 <= point < total
    assert point == point_of(key, salt, total)
    assert weights[share_at(list(enumerate(weights)), point)] > 0


@given(first=st.integers(0, 100), more=st.integers(0, 100), key=st.binary(min_size=1, max_size=20))
def test_a_share_that_grows_takes_keys_only_from_the_last(first: int, more: int, key: bytes) -> None:
    grown = min(100, first + more)
    point = point_of(key, b"model", 100)
    before = share_at([("challenger", first), ("main", 100 - first)], point)
    after = share_at([("challenger", grown), ("main", 100 - grown)], point)
    assert before == after or (before, after) == ("main", "challenger")
    # The same proportion in other numbers moves nobody.
    point = point_of(key, b"model", 1000)
    assert share_at([("challenger", first * 10), ("main", (100 - first) * 10)], point) == before


def test_many_keys_are_divided_nearly_as_the_weights_say() -> None:
    found = Counter(
        share_at([("challenger", 10), ("main", 90)], point_of(b"user-%d" % n, b"model", 100)) for n in range(20_000)
    )
    assert 1_800 <= found["challenger"] <= 2_200


@given(share=st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0]), count=st.integers(0, 1_000))
def test_exactly_a_share_of_the_requests_is_copied(share: float, count: int) -> None:
    shadowing = Shadowing(share)
    taken = sum(shadowing.due() for _ in range(count))
    assert taken == int(count * share + 1e-6)


@given(sizes=st.lists(st.integers(0, 1 << 20), max_size=100), waiting=st.integers(0, 600))
def test_copies_are_few_and_stop_when_requests_wait(sizes: list[int], waiting: int) -> None:
    shadowing = Shadowing(1.0)
    admitted = [s for s in sizes if shadowing.admit(s, waiting_rows=waiting, frame_rows=256)]
    assert len(admitted) == shadowing.copies <= MOST_COPIES
    assert sum(admitted) == shadowing.size_bytes <= 4 * 1024 * 1024
    assert not admitted or waiting <= 128
    for size in admitted:
        shadowing.done(size)
    assert (shadowing.copies, shadowing.size_bytes) == (0, 0)
