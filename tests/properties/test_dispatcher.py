"""The dispatcher as a state machine: whatever happens in whatever order, each request has exactly one end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.protocol.messages import BatchOptions, QueueOptions, Route
from headrace.core.serving.assignments import Frame
from headrace.core.serving.batching import DONE, GONE, NEVER_S, NEW, QUEUED, SENT, Work
from headrace.core.serving.dispatching import Dispatcher

MAX_ROWS = 10
MAX_BYTES = 400
TIMEOUT_S = 30.0


class DispatcherMachine(RuleBasedStateMachine):
    """`ends` counts how often each request was answered, failed, found late or given up: it must be once."""

    def __init__(self) -> None:
        super().__init__()
        self.core: Dispatcher[Work] = Dispatcher(
            Route(
                model="m",
                batch=BatchOptions(max_rows=MAX_ROWS, max_bytes=MAX_BYTES),
                queue=QueueOptions(max_rows=60, max_bytes=2000),
                timeout_s=TIMEOUT_S,
            ),
            mergeable=True,
        )
        self.now_s = 0.0
        self.works: list[Work] = []
        self.ends: dict[int, int] = {}
        self.frames: dict[str, Frame[Work]] = {}
        self.ahead: dict[str, Frame[Work]] = {}
        self.parked: list[Frame[Work]] = []
        self.ready: list[Frame[Work]] = []
        self.owing: set[str] = set()
        self.workers = 0
        self.solo_in_a_row = 0
        self.sent_at: dict[int, int] = {}
        self.tick = 0

    def end(self, work: Work, state: int = GONE) -> None:
        assert work.state == state
        self.ends[id(work)] = self.ends.get(id(work), 0) + 1

    @rule()
    def worker_comes(self) -> None:
        self.workers += 1
        self.core.add_worker(f"w{self.workers}")
        self.dispatch()

    @rule(
        rows=st.sampled_from([1, 1, 1, 3, 9, 10, 11, 50]),
        patience_s=st.sampled_from([1.0, 20.0, 1000.0]),
        head=st.sampled_from([b"a", b"b"]),
        stream=st.booleans(),
    )
    def request_comes(self, *, rows: int, patience_s: float, head: bytes, stream: bool) -> None:
        work = Work(head, b"x" * 20, rows=rows, arrived_s=self.now_s, deadline_s=self.now_s + patience_s, stream=stream)
        queued = self.core.lanes.rows
        if self.core.offer(work):
            self.works.append(work)
            assert queued == 0 or self.core.lanes.rows <= 60
        else:
            assert work.state == NEW
            assert queued + rows > 60 or self.core.lanes.size_bytes + 20 > 2000
        self.dispatch()

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def worker_answers(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.frames)))
        self.worker_answers_all(worker)
        self.dispatch()

    @precondition(lambda self: self.frames)
    @rule(data=st.data(), reads=st.booleans())
    def stream_is_parked(self, data: st.DataObject, *, reads: bool) -> None:
        frame = self.frames[data.draw(st.sampled_from(sorted(self.frames)))]
        if not frame.works[0].stream or frame.works[0].state != SENT:
            return
        del self.frames[frame.worker]
        frame.works[0].deadline_s = NEVER_S  # as of every stream that has begun
        self.core.park(frame)
        self.owing.add(frame.worker)
        self.parked.append(frame)
        if reads:
            self.wakes(frame)
        self.dispatch()

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def reader_catches_up(self, data: st.DataObject) -> None:
        self.wakes(data.draw(st.sampled_from(self.parked)))
        self.dispatch()

    def wakes(self, frame: Frame[Work]) -> None:
        self.core.parking.wake(frame.worker, frame.number)
        if frame not in self.ready:
            self.ready.append(frame)

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def parked_stream_is_over(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.parked))
        self.forget(frame)
        self.core.give_up(frame.works[0])
        assert self.core.drop_parked(frame)
        self.end(frame.works[0])
        self.dispatch()

    def forget(self, frame: Frame[Work]) -> None:
        self.parked.remove(frame)
        if frame in self.ready:
            self.ready.remove(frame)

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.frames)))
        for frame in [frame for frame in self.parked if frame.worker == worker]:
            self.forget(frame)
            self.core.give_up(frame.works[0])  # a client has seen some of it: the caller breaks it off
            self.end(frame.works[0])
        self.owing.discard(worker)
        live = [work for work in self.frames.pop(worker).works if work.state == SENT]
        unbegun = [work for work in self.ahead.pop(worker).works if work.state == SENT] if worker in self.ahead else []
        losses = [work.losses for work in unbegun]
        held, failed = self.core.lost(worker)
        assert held == len(live) + len(unbegun)
        assert [work.losses for work in unbegun] == losses
        for work in failed:
            assert work.losses == 2
            self.end(work)
        assert all(work.state == QUEUED and work.solo for work in live if work not in failed)
        self.dispatch()

    @precondition(lambda self: any(work.state in {QUEUED, SENT} for work in self.works))
    @rule(data=st.data())
    def client_leaves(self, data: st.DataObject) -> None:
        parked = [frame.works[0] for frame in self.parked]
        alive = [work for work in self.works if work.state in {QUEUED, SENT} and work not in parked]
        if not alive:
            return
        work = data.draw(st.sampled_from(alive))
        self.core.give_up(work)
        self.end(work)

    @rule(seconds=st.sampled_from([0.5, 5.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        late, hung = self.core.overtime(self.now_s)
        for work in late:
            assert work.deadline_s <= self.now_s
            self.end(work)
        for work in self.works:
            assert work.state not in {QUEUED, SENT} or work.deadline_s > self.now_s
        for frame in hung:
            assert self.now_s - frame.sent_s >= TIMEOUT_S

    def dispatch(self) -> None:
        """Take all frames that there are, and look at each."""
        while True:
            shared_waits = self.core.lanes._shared_live
            idle = self.core.idle
            waiting_rows = self.core.lanes.rows
            frame = self.core.next_frame(self.now_s)
            for work in self.core.overdue:
                self.end(work)
            self.core.overdue.clear()
            if frame is None:
                break
            assert frame.works
            if frame.resumes:
                assert frame in self.ready, "a stream goes on that cannot"
                assert frame.worker not in self.frames, "two frames in flight"
                assert not self.core.lanes.count or frame.worker not in self.owing, "streams starve the others"
                self.forget(frame)
                self.frames[frame.worker] = frame
                continue
            self.owing.discard(frame.worker)
            if not idle:
                assert frame.worker in self.frames
                assert frame.worker not in self.ahead, "three frames in flight"
                assert waiting_rows >= MAX_ROWS, "a frame that could have grown was sent ahead"
                assert not frame.solo
                self.ahead[frame.worker] = frame
                continue
            assert frame.worker not in self.frames, "two frames in flight"
            assert all(work.deadline_s > self.now_s for work in frame.works), "late"
            if len(frame.works) > 1:
                assert sum(work.rows for work in frame.works) <= MAX_ROWS, "oversized"
                assert sum(work.size_bytes for work in frame.works) <= MAX_BYTES, "oversized"
                assert not any(work.solo for work in frame.works)
                places = [self.works.index(work) for work in frame.works]
                assert places == sorted(places), "reordered"
            others = [f for f in self.frames.values() if f.solo]
            if frame.solo and shared_waits:
                self.solo_in_a_row += 1
                assert self.solo_in_a_row == 1, "small ones starve"
                assert not self.frames or len(others) < max(1, self.capacity() - 1), "large ones hold everything"
            else:
                self.solo_in_a_row = 0
            self.frames[frame.worker] = frame

    def capacity(self) -> int:
        return len(self.frames) + len(self.core.workers.idle) + 1

    @invariant()
    def nobody_idles_while_somebody_waits(self) -> None:
        assert not (self.core.idle and self.core.lanes.count)

    @invariant()
    def no_stream_waits_for_an_idle_worker(self) -> None:
        assert not {frame.worker for frame in self.ready} & set(self.core.workers.idle)

    @invariant()
    def each_request_has_one_place_or_one_end(self) -> None:
        for work in self.works:
            ended = self.ends.get(id(work), 0)
            assert ended == (1 if work.state in {DONE, GONE} else 0)
        frames = [*self.frames.values(), *self.ahead.values(), *self.parked]
        in_flight = {id(work) for frame in frames for work in frame.works if work.state == SENT}
        assert in_flight == {id(work) for work in self.works if work.state == SENT}

    @invariant()
    def the_queue_is_counted_exactly(self) -> None:
        queued = [work for work in self.works if work.state == QUEUED]
        lanes = self.core.lanes
        assert lanes.count == len(queued)
        assert lanes.rows == sum(work.rows for work in queued)
        assert lanes.size_bytes == sum(work.size_bytes for work in queued)

    def teardown(self) -> None:
        """With a worker that works, everybody is served in a bounded number of frames."""
        self.core.add_worker("last")
        for frame in self.parked:
            self.wakes(frame)
        waiting = self.core.lanes.count + len(self.frames) + len(self.ahead) + len(self.parked)
        for _ in range(waiting + 1):
            self.dispatch()
            for worker in list(self.frames):
                self.worker_answers_all(worker)
        assert self.core.empty
        assert all(work.state in {DONE, GONE} for work in self.works)

    def worker_answers_all(self, worker: str) -> None:
        frame = self.frames.pop(worker)
        awaited = [work for work in frame.works if work.state == SENT]
        self.core.done(frame, self.now_s)
        if worker in self.ahead:
            self.frames[worker] = self.ahead.pop(worker)
        for work in awaited:
            self.end(work, DONE)


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
