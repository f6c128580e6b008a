"""Assigns requests to the workers of a pool, and decides about requests whose worker is lost.

One `Dispatcher` is one pool's state: the lanes, the workers, the frames in flight. It decides; the gateway's pool
acts (sends, answers, closes) and reports back.

One frame is in flight per worker, so that what comes meanwhile grows into one large frame instead of two small ones.
Only when a whole frame's rows wait already may a busy worker be sent its next frame ahead: it cannot grow any more, and
the worker need not wait for the gateway, which under overload has other things to do. That second frame has not been
begun, so if its worker dies, its requests go back as if nothing had been.

A stream whose reader is slower than its worker is parked: the frame stays with the worker, and the worker is free.

With a `concurrency` above 1 a worker has so many frames in flight, for a model that mostly waits; `calls` says whether
each may hold more than one request. What is left of a worker that died goes alone to a worker that does nothing else,
so that the one who killed it takes nobody with it. A worker that is silent over one frame gets nothing new, and is
given up when it is silent over all that it has: other requests that it has are answered first.

Pure: time is a number of seconds on any clock that does not go back.
"""

from __future__ import annotations

from typing import Generic

from headrace.core.protocol.messages import Route
from headrace.core.serving.admission import Admission
from headrace.core.serving.assignments import Assignments, Frame
from headrace.core.serving.batching import DONE, GONE, NEVER_S, QUEUED, SENT, Lanes, W
from headrace.core.serving.calls import Calls
from headrace.core.serving.parking import Parking

MAX_LOSSES = 2
"""A request that was in the hands of this many workers when they died is not given to another."""


class Dispatcher(Generic[W]):
    """The decisions of one pool: reports come as method calls. Only it and its `Lanes` write a work's state.

    `timeout_s` is how long a worker may be silent over a frame. `calls` says how many frames it may have. `overdue`
    collects requests that were found late while a frame was put together: the caller answers them and empties it.
    `wake_s` is when `next_frame` should be asked again although nothing happens (only with
    `BatchOptions.max_delay_ms`).
    """

    __slots__ = (
        "_number",
        "admission",
        "batch",
        "calls",
        "lanes",
        "mergeable",
        "overdue",
        "parking",
        "timeout_s",
        "wake_s",
        "workers",
    )

    def __init__(self, route: Route, *, mergeable: bool, now_s: float = 0.0) -> None:
        self.admission = Admission(route.queue, now_s)
        self.mergeable = mergeable
        self.lanes: Lanes[W] = Lanes()
        self.overdue: list[W] = []
        self.wake_s = NEVER_S
        self.parking: Parking[Frame[W]] = Parking()
        self.workers: Assignments[W] = Assignments()
        self.calls: Calls[W] = Calls(self.workers)
        self._number = 0
        self.configure(route)

    def __repr__(self) -> str:
        return f"<Dispatcher {self.workers!r} {self.lanes!r}>"

    def configure(self, route: Route) -> None:
        """Decide by the settings of `route` from now on; what waits and what is in flight stays as it is."""
        self.batch = route.batch
        self.timeout_s = route.timeout_s
        self.admission.options = route.queue
        self.calls.configure(route.concurrency)

    @property
    def idle(self) -> bool:
        """Whether a worker is idle."""
        return bool(self.workers.idle)

    @property
    def eager(self) -> bool:
        """Whether `next_frame` is worth asking: a worker has time, or may be sent a full frame ahead."""
        workers = self.workers
        if workers.idle or self._spare() is not None:
            return True
        return self.calls.ahead and self.lanes.rows >= self.batch.max_rows and len(workers.ahead) < len(workers.busy)

    @property
    def in_flight(self) -> int:
        """How many requests are with workers, given-up ones included."""
        return sum(len(frame.works) for frame in self.frames()) + len(self.parking)

    @property
    def empty(self) -> bool:
        """Whether no request waits or is in flight."""
        return not self.workers.busy and not self.lanes.count and not len(self.parking)

    def frames(self) -> list[Frame[W]]:
        """All frames in flight but those that are parked: what workers are to work on now."""
        return self.workers.frames()

    def add_worker(self, worker: str) -> None:
        """A worker is connected and idle."""
        self.workers.idle.append(worker)

    def retire_worker(self, worker: str) -> bool:
        """Give `worker` nothing new; True if it is idle and may be let go at once, False: when its frames are done."""
        workers = self.workers
        if worker in workers.idle:
            workers.idle.remove(worker)
        if worker in workers.busy or worker in self.parking:
            workers.retire(worker)
            return False
        return True

    def offer(self, work: W, *, admitted: bool = False) -> bool:
        """Queue `work`; False if the queue is full and it must be turned away, unless it was `admitted` elsewhere."""
        lanes, batch, rows, size_bytes = self.lanes, self.batch, work.rows, work.size_bytes
        if not admitted and not self.admission.admits(lanes.rows, lanes.size_bytes, rows, size_bytes):
            return False
        if rows > batch.max_rows or size_bytes > batch.max_bytes:
            work.solo = True
        lanes.add(work)
        return True

    def next_frame(self, now_s: float) -> Frame[W] | None:
        """Decide the next frame, or None. Ask again until None; then look at `overdue` and `wake_s`.

        One that has `begun` is not to be sent: its worker is to go on with it.
        """
        lanes, workers = self.lanes, self.workers
        if self.parking.any_ready:
            found = self.parking.next(workers.full(), workers.idle, others_wait=lanes.count > 0)
            if found is not None:
                return self._go_on(*found, now_s)
        if not lanes.count:
            return None
        batch = self.batch
        idle = workers.idle
        spare = None if idle else self._spare()
        if not idle and spare is None:
            may = self.calls.ahead and self.mergeable and lanes.rows >= batch.max_rows
            return self._next_ahead(now_s) if may else None
        if batch.max_delay_ms > 0.0 and self._hold(now_s):
            return None
        concurrency = workers.concurrency
        others = (len(idle) + len(workers.busy)) * concurrency - 1
        works = lanes.take(
            batch.max_rows,
            batch.max_bytes,
            now_s,
            self.overdue,
            solo_allowed=workers.solo < max(1, others),
            max_works=1 << 16 if self.mergeable and self.calls.merges else 1,
        )
        if not works:
            return None
        # The most recently used one: its caches are warm, and under light load the others stay asleep. A probe looks
        # after those: it goes to the one that has been idle longest, so that each gets its turn.
        worker = spare if spare is not None else idle.pop(0 if works[0].probe else -1)
        frame = self._frame(worker, works, now_s)
        workers.begin(frame)
        self.parking.gave_a_turn(worker)
        return frame

    def park(self, frame: Frame[W]) -> None:
        """The reader of this stream has not taken what was sent of it: its worker may do something else."""
        self.workers.end(frame)
        frame.resumes = True
        self.parking.park(frame.worker, frame.number, frame)

    def drop_parked(self, frame: Frame[W]) -> bool:
        """A parked stream is over. Returns as `done` does."""
        worker = frame.worker
        self.parking.remove(worker, frame.number)
        return self._goes_on(worker)

    def judge(self, frame: Frame[W], *, failed: bool) -> bool:
        """See what it means that the model has, or has not, `failed` on a frame; called before `done`.

        What failed beside other calls may be queued again, to be tried alone. Returns whether it is known from now on
        that calls must not be beside each other.
        """
        calls = self.calls
        was_alone = calls.alone
        if calls.over(frame, failed=failed):
            self.lanes.add_first(frame.works[0])
        return calls.alone and not was_alone

    def done(self, frame: Frame[W], now_s: float) -> bool:
        """A worker has answered its frame. True: it goes on; False: it was retiring and may be let go.

        Those of the frame whose answers somebody waits for are DONE now.
        """
        workers, worker = self.workers, frame.worker
        if workers.ahead:
            following = workers.ahead.pop(worker, None)
            if following is not None:
                # Its time with the worker begins now.
                following.progress_s = now_s
                workers.begin(following)
        workers.end(frame)
        if worker in workers.stuck and not any(
            other.is_silent(now_s, self.timeout_s) for other in workers.begun_by(worker)
        ):
            workers.stuck.discard(worker)
        rows = 0
        for work in frame.works:
            rows += work.rows
            if work.state == SENT:
                work.state = DONE
        self.admission.served(rows, now_s)
        return self._goes_on(worker)

    def lost(self, worker: str) -> tuple[int, list[W]]:
        """The worker is gone. Return how many live requests it held, and those of them that must be answered now.

        The others wait again, each for a frame of its own and before everything else. The caller gives up a stream
        that has begun first: what a client has seen cannot be taken back.
        """
        workers = self.workers
        following = workers.ahead.pop(worker, None)
        frames = workers.begun_by(worker)
        for frame in frames:
            workers.end(frame)
        workers.remove(worker)
        self.parking.lost(worker)
        unbegun = [work for work in following.works if work.state == SENT] if following is not None else []
        for work in reversed(unbegun):
            self.lanes.put_back(work)
        live = [work for frame in frames for work in frame.works if work.state == SENT]
        failed: list[W] = []
        for work in reversed(live):
            work.losses += 1
            if work.losses >= MAX_LOSSES:
                work.state = GONE
                failed.append(work)
            else:
                self.lanes.add_first(work)
        failed.reverse()
        return len(live) + len(unbegun), failed

    def give_up(self, work: W) -> None:
        """Nobody waits for `work` any more. Queued: it never reaches a worker. In flight: its answer is dropped."""
        if work.state == QUEUED:
            self.lanes.give_up(work)
        else:
            work.state = GONE

    def overtime(self, now_s: float) -> tuple[list[W], list[Frame[W]]]:
        """Return the requests whose deadline has passed (now GONE) and the frames whose worker was silent too long."""
        workers = self.workers
        late = self.lanes.expire(now_s)
        hung: list[Frame[W]] = []
        for frame in workers.frames():
            if now_s < frame.act_s:
                continue
            begun = workers.find(frame.worker, frame.number) is not None
            limit_s = (frame.progress_s if begun else now_s) + self.timeout_s
            act_s = limit_s
            for work in frame.works:
                if work.state != SENT:
                    continue
                if work.deadline_s <= now_s:
                    work.state = GONE
                    late.append(work)
                elif work.deadline_s < act_s:
                    act_s = work.deadline_s
            frame.act_s = act_s
            if limit_s <= now_s:
                workers.stuck.add(frame.worker)
                if all(other.is_silent(now_s, self.timeout_s) for other in workers.begun_by(frame.worker)):
                    hung.append(frame)
        return late, hung

    def evict(self) -> list[W]:
        """Remove and return all waiting requests, for another pool."""
        return self.lanes.clear()

    def _next_ahead(self, now_s: float) -> Frame[W] | None:
        """Send the worker that has worked longest its next frame before it is done, if that frame is full already."""
        workers = self.workers
        for worker, frames in workers.busy.items():
            busy = next(iter(frames.values()))
            if len(frames) == 1 and worker not in workers.ahead and not workers.is_retiring(worker) and not busy.solo:
                batch = self.batch
                works = self.lanes.take_full(batch.max_rows, batch.max_bytes, now_s, self.overdue)
                if not works:
                    return None
                frame = workers.ahead[worker] = self._frame(worker, works, now_s)
                return frame
        return None

    def _go_on(self, worker: str, number: int, frame: Frame[W], now_s: float) -> Frame[W]:
        self.parking.remove(worker, number)
        workers = self.workers
        if worker in workers.idle:
            workers.idle.remove(worker)
        workers.begin(frame)
        # Its worker's silence counts from now on.
        frame.progress_s = now_s
        frame.act_s = now_s + self.timeout_s
        return frame

    def _spare(self) -> str | None:
        """The worker that may have a frame beside those that it has."""
        workers = self.workers
        must_wait = workers.concurrency == 1 or self.lanes.has_suspect or self.calls.trial_waits
        return None if must_wait else workers.least_busy()

    def _goes_on(self, worker: str) -> bool:
        """Whether a worker is still wanted that may have nothing in hand: unless it was retiring, and is done."""
        workers = self.workers
        if worker in workers.busy or not workers.is_retiring(worker) or worker in self.parking:
            return True
        workers.remove(worker)
        return False

    def _frame(self, worker: str, works: list[W], now_s: float) -> Frame[W]:
        act_s = now_s + self.timeout_s
        for work in works:
            work.state = SENT
            work.sent_s = now_s
            act_s = min(act_s, work.deadline_s)
        self._number = (self._number + 1) & 0xFFFFFFFF
        frame = Frame(self._number, worker, works, now_s, act_s)
        frame.is_suspect |= works[0] is self.calls.trial
        return frame

    def _hold(self, now_s: float) -> bool:
        waiting = self.lanes.shared_rows_waiting_since()
        if waiting is None:
            return False
        rows, oldest_s = waiting
        self.wake_s = oldest_s + self.batch.max_delay_ms / 1000.0
        if rows >= self.batch.max_rows or now_s >= self.wake_s:
            self.wake_s = NEVER_S
            return False
        return True
