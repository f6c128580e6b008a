"""Streams whose readers are slow: parked, woken, and how their workers are shared with what waits."""

from __future__ import annotations

from headrace.core.serving.parking import Parking


def parked(*streams: tuple[str, int]) -> Parking[str]:
    parking: Parking[str] = Parking()
    for worker, number in streams:
        parking.park(worker, number, f"{worker}{number}")
    return parking


def test_a_parked_stream_is_known_by_its_worker_and_number() -> None:
    parking = parked(("a", 1), ("a", 2), ("b", 1))
    assert sorted(parking) == ["a1", "a2", "b1"]
    assert len(parking) == 3
    assert "a" in parking
    assert "c" not in parking
    assert parking.find("a", 2) == "a2"
    assert parking.find("b", 2) is None
    assert not parking.any_ready


def test_only_a_stream_that_was_woken_goes_on() -> None:
    parking = parked(("a", 1), ("a", 2))
    assert parking.next(set(), {"a"}, others_wait=False) is None
    parking.wake("a", 2)
    parking.wake("a", 3)  # not parked
    assert parking.any_ready
    assert parking.next(set(), {"a"}, others_wait=False) == ("a", 2, "a2")


def test_a_worker_that_is_busy_is_passed_over() -> None:
    parking = parked(("a", 1), ("b", 1))
    parking.wake("a", 1)
    parking.wake("b", 1)
    assert parking.next({"a"}, {"b"}, others_wait=False) == ("b", 1, "b1")
    assert parking.next({"a", "b"}, set(), others_wait=False) is None


def test_a_worker_that_has_left_a_stream_does_one_thing_of_the_queue_first() -> None:
    parking = parked(("a", 1))
    parking.wake("a", 1)
    assert parking.next(set(), {"a"}, others_wait=True) is None
    assert parking.next(set(), {"a"}, others_wait=False) is not None, "nobody waits"
    assert parking.next(set(), set(), others_wait=True) is not None, "it would get nothing of the queue"
    parking.gave_a_turn("a")
    assert parking.next(set(), {"a"}, others_wait=True) == ("a", 1, "a1")


def test_the_turn_is_owed_again_each_time_the_stream_is_left() -> None:
    parking = parked(("a", 1))
    parking.gave_a_turn("a")
    parking.remove("a", 1)
    parking.park("a", 1, "again")
    parking.wake("a", 1)
    assert parking.next(set(), {"a"}, others_wait=True) is None


def test_a_stream_that_is_over_is_neither_parked_nor_ready() -> None:
    parking = parked(("a", 1), ("a", 2))
    parking.wake("a", 1)
    parking.remove("a", 1)
    parking.remove("a", 1)
    assert not parking.any_ready
    assert list(parking) == ["a2"]
    parking.remove("nobody", 1)
    parking.remove("a", 2)
    assert "a" not in parking


def test_a_worker_that_is_gone_takes_all_its_streams() -> None:
    parking = parked(("a", 1), ("a", 2), ("b", 1))
    parking.wake("a", 1)
    parking.lost("a")
    parking.lost("a")
    assert not parking.any_ready
    assert list(parking) == ["b1"]
