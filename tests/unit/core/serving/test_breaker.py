"""When a helper that may be slow or dead is asked."""

import pytest

from headrace.core.serving.breaker import Breaker


def test_nobody_asks_before_it_was_seen_to_work() -> None:
    breaker = Breaker()
    assert not breaker.closed
    breaker.worked()
    assert breaker.closed


def test_failures_in_a_row_open_it_once() -> None:
    breaker = Breaker(failures=3)
    breaker.worked()
    assert [breaker.failed(), breaker.failed()] == [False, False]
    breaker.worked()
    assert [breaker.failed() for _ in range(5)] == [False, False, True, False, False]
    assert not breaker.closed


def test_probes_are_further_and_further_apart_until_one_works() -> None:
    breaker = Breaker()
    assert [breaker.next_probe_s() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    breaker.worked()
    assert breaker.next_probe_s() == 0.5


def test_it_needs_a_failure_to_open() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Breaker(failures=0)
