"""Who works on what."""

from __future__ import annotations

from headrace.core.serving.assignments import Assignments, Frame
from headrace.core.serving.batching import NEVER_S, Work


def frame(number: int, worker: str, *, losses: int = 0, stream: bool = False) -> Frame[Work]:
    work = Work(b"h", b"x", stream=stream)
    work.losses = losses
    return Frame(number, worker, [work], 0.0, NEVER_S)


def test_a_worker_is_idle_again_when_all_its_frames_are_done() -> None:
    workers: Assignments[Work] = Assignments()
    one, two = frame(1, "a"), frame(2, "a")
    workers.begin(one)
    workers.begin(two)
    assert workers.begun_by("a") == [one, two]
    workers.end(one)
    assert (workers.find("a", 1), workers.find("a", 2), workers.idle) == (None, two, [])
    workers.end(two)
    assert (workers.idle, workers.busy, workers.count) == (["a"], {}, 1)


def test_a_retiring_worker_is_not_idle_again_and_does_not_count() -> None:
    workers: Assignments[Work] = Assignments()
    one = frame(1, "a")
    workers.begin(one)
    workers.retire("a")
    assert (workers.count, workers.is_retiring("a")) == (0, True)
    workers.end(one)
    assert workers.idle == []
    workers.remove("a")
    assert not workers.is_retiring("a")


def test_the_least_busy_worker_is_one_that_may_have_more() -> None:
    workers: Assignments[Work] = Assignments()
    workers.concurrency = 2
    for one in (frame(1, "a"), frame(2, "a"), frame(3, "b")):
        workers.begin(one)
    assert (workers.least_busy(), workers.full()) == ("b", {"a"})
    workers.stuck.add("b")
    assert workers.least_busy() is None


def test_nobody_has_more_while_a_suspect_is_worked_on() -> None:
    workers: Assignments[Work] = Assignments()
    workers.concurrency = 4
    suspect = frame(1, "a", losses=1)
    workers.begin(suspect)
    assert (workers.least_busy(), workers.full()) == (None, {"a"})
    workers.end(suspect)
    workers.begin(frame(2, "a", stream=True))
    assert (workers.least_busy(), workers.solo, workers.suspects) == ("a", 1, 0)


def test_a_frame_sent_ahead_is_with_its_worker_but_not_begun() -> None:
    workers: Assignments[Work] = Assignments()
    one = workers.ahead["a"] = frame(1, "a")
    assert (workers.frames(), workers.begun_by("a")) == ([one], [])


def test_a_frame_is_silent_when_its_worker_has_given_no_sign_for_so_long() -> None:
    one = frame(1, "a")
    assert not one.is_silent(4.9, 5.0)
    one.progress_s = 1.0
    assert not one.is_silent(5.9, 5.0)
    assert one.is_silent(6.0, 5.0)
