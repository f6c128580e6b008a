"""Who gets what, and what becomes of it when a worker is lost."""

from __future__ import annotations

import pytest

from headrace.core.protocol.messages import BatchOptions, QueueOptions, Route
from headrace.core.serving.assignments import Frame
from headrace.core.serving.batching import DONE, GONE, NEVER_S, QUEUED, SENT, Work
from headrace.core.serving.dispatching import Dispatcher
from headrace_worker.wire import Timing


def dispatcher(
    *workers: str,
    max_rows: int = 8,
    max_delay_ms: float = 0.0,
    queue: QueueOptions | None = None,
    mergeable: bool = True,
) -> Dispatcher[Work]:
    batch = BatchOptions(max_rows=max_rows, max_bytes=1000, max_delay_ms=max_delay_ms)
    route = Route(model="m", batch=batch, queue=queue or QueueOptions(), timeout_s=10.0)
    made: Dispatcher[Work] = Dispatcher(route, mergeable=mergeable)
    for worker in workers:
        made.add_worker(worker)
    return made


def work(rows: int = 1, *, deadline_s: float = 100.0, arrived_s: float = 0.0) -> Work:
    return Work(b"h", b"x" * rows, rows=rows, deadline_s=deadline_s, arrived_s=arrived_s)


def offer(core: Dispatcher[Work], *works: Work) -> None:
    for one in works:
        assert core.offer(one)


def done(core: Dispatcher[Work], worker: str, now_s: float) -> bool:
    """`worker` has answered what it was sent first."""
    return core.done(next(frame for frame in core.frames() if frame.worker == worker), now_s)


def next_frame(core: Dispatcher[Work], now_s: float = 0.0) -> Frame[Work]:
    frame = core.next_frame(now_s)
    assert frame is not None
    return frame


def test_nothing_waits_while_a_worker_is_idle() -> None:
    core = dispatcher("a")
    assert core.next_frame(0.0) is None
    one = work()
    offer(core, one)
    assert next_frame(core).works == [one]
    assert one.state == SENT


def test_what_comes_while_all_are_busy_goes_together() -> None:
    core = dispatcher("a")
    first, *others = [work() for _ in range(4)]
    offer(core, first)
    next_frame(core)
    offer(core, *others)
    assert core.next_frame(0.0) is None
    assert done(core, "a", 1.0)
    assert next_frame(core).works == others


def test_the_most_recently_used_worker_is_taken() -> None:
    core = dispatcher("a", "b")
    offer(core, work())
    assert next_frame(core).worker == "b"
    done(core, "b", 0.0)
    offer(core, work())
    assert next_frame(core).worker == "b"


def test_a_full_queue_turns_away_but_an_empty_one_takes_any() -> None:
    core = dispatcher(queue=QueueOptions(max_rows=10, max_bytes=100))
    assert core.offer(work(50))
    assert not core.offer(work())
    core.evict()
    assert core.offer(work(5))
    assert core.offer(work(5))
    assert not core.offer(work())


def test_large_requests_never_hold_all_workers_while_small_ones_wait() -> None:
    core = dispatcher("a", "b")
    big = [work(100) for _ in range(3)]
    small = [work() for _ in range(3)]
    offer(core, *big)
    assert [len(next_frame(core).works[0].body) for _ in range(2)] == [100, 100]
    offer(core, *small)
    done(core, "a", 0.0)
    assert next_frame(core).works == small
    offer(core, work())
    done(core, "a", 0.0)
    assert not next_frame(core).solo
    done(core, "b", 0.0)
    assert next_frame(core).works == [big[2]]


def test_a_pool_that_may_not_be_merged() -> None:
    core = dispatcher("a", mergeable=False)
    offer(core, work(), work())
    assert len(next_frame(core).works) == 1


def test_a_lost_workers_requests_go_alone_and_in_order_and_only_once_more() -> None:
    core = dispatcher("a")
    works = [work() for _ in range(3)]
    offer(core, *works)
    next_frame(core)
    later = work()
    offer(core, later)
    assert core.lost("a") == (3, [])
    assert core.workers.count == 0
    core.add_worker("b")
    assert next_frame(core).works == [works[0]]
    assert core.lost("b") == (1, [works[0]])
    assert works[0].state == GONE
    core.add_worker("c")
    for one in (later, *works[1:]):  # the lanes take turns
        assert next_frame(core).works == [one]
        done(core, "c", 1.0)
    assert core.empty


def test_calls_that_may_be_beside_each_other_are_spread_and_not_merged() -> None:
    core = dispatcher("a", "b")
    core.calls.configure(3)
    works = [work() for _ in range(7)]
    offer(core, *works)
    frames = [next_frame(core) for _ in range(6)]
    assert core.next_frame(0.0) is None
    assert [frame.works for frame in frames] == [[one] for one in works[:6]]
    assert sorted(frame.worker for frame in frames) == ["a"] * 3 + ["b"] * 3
    assert not core.eager
    assert core.done(frames[4], 1.0)
    assert next_frame(core).worker == frames[4].worker


def test_a_worker_that_is_silent_over_one_call_gets_nothing_new_and_finishes_the_others() -> None:
    core = dispatcher("a")
    core.calls.configure(3)
    first, second, third = work(), work(), work()
    offer(core, first)
    hung = next_frame(core, 0.0)
    offer(core, second)
    other = next_frame(core, 5.0)
    assert core.overtime(10.0) == ([], [])
    offer(core, third)
    assert core.next_frame(10.0) is None
    assert core.done(other, 11.0)
    assert core.next_frame(11.0) is None, "it is still silent over the first"
    assert core.overtime(11.0) == ([], [hung])
    assert core.done(hung, 12.0), "it was only slow"
    assert next_frame(core, 12.0).works == [third]


def test_what_a_dead_worker_had_goes_alone_to_a_worker_that_does_nothing_else() -> None:
    core = dispatcher("a")
    core.calls.configure(3)
    offer(core, work(), work())
    assert {next_frame(core).worker for _ in range(2)} == {"a"}
    assert core.lost("a") == (2, [])
    core.add_worker("b")
    offer(core, work(), work())
    for losses in (1, 0, 1):  # the lanes take turns
        alone = next_frame(core)
        assert alone.works[0].losses == losses
        assert core.next_frame(0.0) is None
        assert core.done(alone, 1.0)
    offer(core, work())
    assert [next_frame(core).works[0].losses for _ in range(2)] == [0, 0], "none is left of the dead worker's"


def test_a_full_frame_may_go_ahead_and_comes_back_unharmed() -> None:
    core = dispatcher("a", max_rows=2)
    first, *others = [work() for _ in range(6)]
    offer(core, first)
    next_frame(core)
    offer(core, others[0])
    assert core.next_frame(0.0) is None
    offer(core, *others[1:])
    assert next_frame(core).works == others[:2]
    assert core.next_frame(0.0) is None
    assert core.lost("a") == (3, [])
    core.add_worker("b")
    assert next_frame(core).works == [first]
    done(core, "b", 1.0)
    assert next_frame(core).works == others[:2]
    assert [first.losses, *(one.losses for one in others)] == [1, 0, 0, 0, 0, 0]


def test_a_frame_that_went_ahead_has_its_own_time() -> None:
    core = dispatcher("a", max_rows=1)
    offer(core, work())
    next_frame(core, 0.0)
    late = work(deadline_s=3.0)
    offer(core, late)
    ahead = next_frame(core, 1.0)
    assert core.overtime(3.0) == ([late], [])
    assert done(core, "a", 9.0)
    assert core.workers.find("a", ahead.number) is ahead
    assert core.overtime(18.9) == ([], [])
    assert core.overtime(19.0) == ([], [ahead])


def test_an_idle_worker_is_lost_without_harm() -> None:
    core = dispatcher("a")
    assert core.lost("a") == (0, [])
    assert core.lost("never heard of") == (0, [])
    assert not core.idle


def test_given_up_requests_are_not_retried() -> None:
    core = dispatcher("a")
    one, two, waits = work(), work(), work()
    offer(core, one, two)
    next_frame(core)
    offer(core, waits)
    core.give_up(one)
    core.give_up(waits)
    assert core.lost("a") == (1, [])
    assert (one.state, two.state, waits.state) == (GONE, QUEUED, GONE)


def test_deadlines_in_flight_and_a_worker_that_is_silent_too_long() -> None:
    core = dispatcher("a")
    hasty, patient = work(deadline_s=2.0), work(deadline_s=60.0)
    offer(core, hasty, patient)
    frame = next_frame(core, 1.0)
    assert core.overtime(1.9) == ([], [])
    assert core.overtime(2.0) == ([hasty], [])
    assert core.overtime(10.9) == ([], [])
    assert core.overtime(11.0) == ([], [frame])
    assert core.lost("a") == (1, [])
    assert patient.state == QUEUED


def test_progress_postpones_the_verdict() -> None:
    core = dispatcher("a")
    offer(core, work())
    frame = next_frame(core, 0.0)
    frame.progress_s = 8.0
    assert core.overtime(10.0) == ([], [])
    assert core.overtime(18.0) == ([], [frame])


def test_overdue_requests_are_handed_out_and_not_sent() -> None:
    core = dispatcher("a")
    late, good = work(deadline_s=1.0), work()
    offer(core, late, good)
    assert next_frame(core, 5.0).works == [good]
    assert core.overdue == [late]


def test_retiring_workers_finish_first() -> None:
    core = dispatcher("a", "b")
    offer(core, work())
    assert next_frame(core).worker == "b"
    assert core.retire_worker("a")
    assert not core.retire_worker("b")
    assert core.workers.count == 0
    assert not done(core, "b", 1.0)
    assert not core.idle
    assert core.retire_worker("b")


def test_a_delay_is_kept_unless_the_frame_is_full() -> None:
    core = dispatcher("a", max_delay_ms=100.0, max_rows=4)
    offer(core, work(arrived_s=1.0))
    assert core.next_frame(1.0) is None
    assert core.wake_s == pytest.approx(1.1)
    offer(core, work(arrived_s=1.05), work(2, arrived_s=1.05))
    assert len(next_frame(core, 1.05).works) == 3
    assert core.wake_s == NEVER_S
    done(core, "a", 2.0)
    offer(core, work(arrived_s=2.0))
    assert core.next_frame(2.0) is None
    assert len(next_frame(core, 2.1).works) == 1


def test_the_time_to_come_back_follows_the_rate_of_work() -> None:
    core = dispatcher("a")
    assert core.admission.retry_after_s(1000) == 1
    core.admission.served(100, 1.0)
    assert core.admission.retry_after_s(1000) == 10
    assert core.admission.retry_after_s(1) == 1
    assert core.admission.retry_after_s(1_000_000) == 30


class Probing(Work):
    __slots__ = ()
    probe = True


def test_a_probe_goes_to_the_worker_that_has_been_idle_longest() -> None:
    core = dispatcher("a", "b")
    asked = []
    for now_s in (0.0, 1.0, 2.0):
        probing = Probing(b"h", b"x")
        probing.solo = True
        offer(core, probing)
        asked.append(next_frame(core, now_s).worker)
        done(core, asked[-1], now_s)
        offer(core, work())
        assert next_frame(core, now_s).worker == asked[-1], "and a request to the one that was used last"
        done(core, asked[-1], now_s)
    assert asked == ["a", "b", "a"]


def test_a_new_route_holds_for_what_comes_next_and_leaves_what_waits() -> None:
    core = dispatcher("a", max_rows=8)
    first, *waiting = [work() for _ in range(5)]
    offer(core, first)
    sent = next_frame(core)
    offer(core, *waiting)
    core.configure(Route(model="m", batch=BatchOptions(max_rows=2), queue=QueueOptions(max_rows=4), timeout_s=3.0))
    assert not core.offer(work())
    assert (core.lanes.count, core.timeout_s) == (4, 3.0)
    core.done(sent, 1.0)
    assert next_frame(core).works == waiting[:2]


def test_how_many_calls_a_worker_has_is_found_out_where_the_route_leaves_it_open() -> None:
    core = dispatcher("a")
    core.configure(Route(model="m", concurrency=None))
    assert core.workers.concurrency == 1
    offer(core, work())
    frame = next_frame(core)
    offer(core, work())
    core.calls.answered(frame, Timing(predict_us=1_000_000, cpu_us=10_000), others_wait=True)
    found = core.workers.concurrency
    assert found > 1
    core.configure(Route(model="m", concurrency=None))
    assert core.workers.concurrency == found
    core.configure(Route(model="m", concurrency=5))
    assert core.workers.concurrency == 5
    core.calls.alone = True
    core.configure(Route(model="m", concurrency=None))
    assert core.workers.concurrency == 1


def test_only_those_are_done_whose_answer_somebody_waits_for() -> None:
    core = dispatcher("a")
    here, gone = work(), work()
    offer(core, here, gone)
    frame = next_frame(core)
    core.give_up(gone)
    core.done(frame, 1.0)
    assert (here.state, gone.state) == (DONE, GONE)


def test_what_fails_beside_others_is_tried_alone_until_it_is_clear_that_it_must_be() -> None:
    core = dispatcher("a")
    core.configure(Route(model="m", concurrency=None))
    core.workers.concurrency = 4
    for number in range(3):
        offer(core, work(), work())
        frames = [next_frame(core), next_frame(core)]
        assert not core.judge(frames[0], failed=True)
        core.done(frames[0], 1.0)
        assert frames[0].works[0].state == QUEUED
        assert core.next_frame(1.0) is None, "its worker has something else to do"
        core.judge(frames[1], failed=True)  # it is beside another, too, and one is tried at a time
        core.done(frames[1], 1.0)
        alone = next_frame(core, 1.0)
        assert alone.works == frames[0].works
        offer(core, other := work())
        assert core.next_frame(1.0) is None, "nothing is beside it"
        assert core.judge(alone, failed=False) == (number == 2)
        core.done(alone, 1.0)
        assert alone.works[0].state == DONE
        last = next_frame(core, 1.0)
        assert last.works == [other]
        core.judge(last, failed=False)
        core.done(last, 1.0)
    assert core.workers.concurrency == 1
    assert core.calls.alone


def test_nothing_is_tried_again_where_the_number_of_calls_is_set() -> None:
    core = dispatcher("a")
    core.calls.configure(4)
    offer(core, work(), work())
    frames = [next_frame(core), next_frame(core)]
    assert not core.judge(frames[0], failed=True)
    core.done(frames[0], 1.0)
    assert frames[0].works[0].state == DONE
