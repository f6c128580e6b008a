"""What is done at intervals is spread."""

from headrace.supervisor.spreading import spread_s


def test_an_interval_is_a_tenth_shorter_or_longer_at_most() -> None:
    waits_s = [spread_s(20.0) for _ in range(1_000)]
    assert all(18.0 <= wait_s <= 22.0 for wait_s in waits_s)
    assert len(set(waits_s)) > 1
