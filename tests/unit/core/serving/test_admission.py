"""How much may wait, and when a client that was turned away should come again."""

from __future__ import annotations

import pytest

from headrace.core.protocol.messages import QueueOptions
from headrace.core.serving.admission import Admission, ClientShares


def admission(max_rows: int = 10, max_bytes: int = 1000) -> Admission:
    return Admission(QueueOptions(max_rows=max_rows, max_bytes=max_bytes), 100.0)


@pytest.mark.parametrize(
    ("queued_rows", "queued_bytes", "rows", "size_bytes", "admitted"),
    [
        (0, 0, 10_000, 10_000_000, True),  # else it could never run
        (9, 0, 1, 1, True),
        (10, 0, 1, 1, False),
        (9, 0, 2, 1, False),
        (1, 999, 1, 1, True),
        (1, 999, 1, 2, False),
    ],
)
def test_a_queue_takes_what_fits_and_an_empty_one_anything(
    queued_rows: int, queued_bytes: int, rows: int, size_bytes: int, *, admitted: bool
) -> None:
    assert admission().admits(queued_rows, queued_bytes, rows, size_bytes) is admitted


def test_who_is_turned_away_comes_again_when_what_waits_is_worked_off() -> None:
    pool = admission()
    assert pool.retry_after_s(1000) == 1, "nothing is known of its rate"
    pool.served(50, 100.5)
    assert pool.retry_after_s(1000) == 1, "too short a time to tell"
    pool.served(50, 101.0)  # 100 rows in a second
    assert pool.retry_after_s(1000) == 10
    assert pool.retry_after_s(1001) == 11
    assert pool.retry_after_s(0) == 1
    assert pool.retry_after_s(1_000_000) == 30


def test_the_rate_follows_what_is_served_now_by_halves() -> None:
    pool = admission()
    pool.served(100, 101.0)
    pool.served(300, 102.0)
    assert pool.retry_after_s(1000) == 5, "between 100 and 300 rows a second"
    pool.served(400, 104.0)
    assert pool.retry_after_s(1000) == 5, "400 rows in two seconds"


def test_a_share_is_bounded_but_the_first_request_may_be_large() -> None:
    shares = ClientShares()
    assert shares.take(b"a", 100, 10) is not None
    assert shares.take(b"a", 1, 10) is None
    assert shares.take(b"b", 10, 10) is not None, "others have shares of their own"
    assert shares.rows == {b"a": 100, b"b": 10}


def test_a_request_that_is_over_gives_back_once_whatever_it_was_charged_for() -> None:
    rows, streams = ClientShares(), ClientShares()
    stream = streams.take(b"a", 1, 10)
    charge = rows.take(b"a", 3, 10, also=stream)
    other = rows.take(b"a", 2, 10)
    assert charge is not None
    assert other is not None
    charge.release()
    charge.release()
    assert (rows.rows, streams.rows) == ({b"a": 2}, {})
    other.release()
    assert rows.rows == {}, "clients that have nothing are not remembered"
