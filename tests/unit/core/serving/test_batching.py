"""The two lanes: order, bounds, turns, and what is left when clients leave."""

from __future__ import annotations

from headrace.core.serving.batching import GONE, QUEUED, Lanes, Work


def work(name: str, rows: int = 1, *, solo: bool = False, deadline_s: float = 100.0, head: bytes = b"h") -> Work:
    made = Work(head, name.encode(), rows=rows, deadline_s=deadline_s)
    made.solo = solo
    return made


def take(
    lanes: Lanes[Work], max_rows: int = 10, max_bytes: int = 1000, *, now_s: float = 0.0, solo: bool = True
) -> str:
    works = lanes.take(max_rows, max_bytes, now_s, [], solo_allowed=solo, max_works=1000)
    return " ".join(w.body.decode() for w in works)


def lanes_of(*works: Work) -> Lanes[Work]:
    lanes: Lanes[Work] = Lanes()
    for one in works:
        lanes.add(one)
    return lanes


def test_requests_leave_in_their_order_as_many_as_fit() -> None:
    lanes = lanes_of(work("a", 4), work("b", 4), work("c", 4), work("d"))
    assert (lanes.count, lanes.rows, lanes.size_bytes) == (4, 13, 4)
    assert take(lanes) == "a b"
    assert take(lanes) == "c d"
    assert take(lanes) == ""
    assert (lanes.count, lanes.rows, lanes.size_bytes) == (0, 0, 0)


def test_bytes_bound_a_frame_too() -> None:
    lanes = lanes_of(work("aaa"), work("bbb"), work("c"))
    assert take(lanes, max_bytes=5) == "aaa"
    assert take(lanes, max_bytes=5) == "bbb c"


def test_one_that_exceeds_the_bounds_goes_by_itself() -> None:
    assert take(lanes_of(work("a", 50), work("b"))) == "a"


def test_the_lanes_take_turns() -> None:
    lanes = lanes_of(*(work(f"s{i}", 9) for i in range(3)), *(work(f"X{i}", solo=True) for i in range(3)))
    assert [take(lanes) for _ in range(6)] == ["s0", "X0", "s1", "X1", "s2", "X2"]


def test_the_solo_lane_is_passed_over_only_while_the_other_waits() -> None:
    lanes = lanes_of(work("s0", 9), work("s1", 9), work("X", solo=True))
    assert [take(lanes, solo=False) for _ in range(3)] == ["s0", "s1", "X"]


def test_a_retried_request_goes_before_those_that_came_later() -> None:
    lanes = lanes_of(work("X", solo=True))
    for name in ("b", "a"):
        lanes.add_first(work(name))
    assert [take(lanes) for _ in range(3)] == ["a", "b", "X"]


def test_who_is_late_is_not_sent() -> None:
    late, good, late_too = work("late", deadline_s=1.0), work("good"), work("solo", solo=True, deadline_s=1.0)
    lanes = lanes_of(late, good, late_too)
    overdue: list[Work] = []
    assert lanes.take(10, 1000, 2.0, overdue, solo_allowed=True, max_works=9) == [good]
    assert lanes.take(10, 1000, 2.0, overdue, solo_allowed=True, max_works=9) == []
    assert overdue == [late, late_too]
    assert {late.state, late_too.state} == {GONE}
    assert (lanes.count, lanes.rows, lanes.size_bytes) == (0, 0, 0)


def test_expiry_finds_exactly_the_late() -> None:
    works = [work(str(i), deadline_s=float(i), solo=i % 2 == 0) for i in range(1, 9)]
    lanes = lanes_of(*works)
    assert lanes.expire(0.5) == []
    assert {w.body for w in lanes.expire(4.0)} == {b""}
    assert [w.state for w in works] == [GONE] * 4 + [QUEUED] * 4
    assert lanes.expire(4.5) == []
    assert len(lanes.expire(8.0)) == 4
    assert lanes.count == 0


def test_what_is_given_up_is_never_sent_and_holds_nothing() -> None:
    gone, stays = work("gone"), work("stays")
    lanes = lanes_of(gone, stays)
    lanes.give_up(gone)
    assert (lanes.count, lanes.rows, lanes.size_bytes, gone.body) == (1, 1, 5, b"")
    assert take(lanes) == "stays"


def test_the_given_up_do_not_pile_up() -> None:
    lanes: Lanes[Work] = Lanes()
    for _ in range(10_000):
        one = work("x")
        lanes.add(one)
        lanes.give_up(one)
    assert len(lanes._shared) < 200


def test_a_frame_holds_no_more_heads_than_the_wire_can_name() -> None:
    lanes = lanes_of(*(work("x", head=b"%d" % i) for i in range(600)))
    sizes = []
    while taken := lanes.take(10_000, 10_000, 0.0, [], solo_allowed=True, max_works=10_000):
        sizes.append(len(taken))
    assert sizes == [255, 255, 90]


def test_everything_can_be_taken_out() -> None:
    a, b, c = work("a"), work("b", solo=True), work("c")
    lanes = lanes_of(a, b, c)
    lanes.give_up(c)
    assert lanes.clear() == [a, b]
    assert (lanes.count, lanes.rows, lanes.size_bytes) == (0, 0, 0)
    lanes.add(a)
    assert take(lanes) == "a"
