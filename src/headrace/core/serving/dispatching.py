"""Which worker of a pool gets what, and what becomes of requests whose worker is lost.

One `Dispatcher` is one pool's state: the lanes, the workers, the frames in flight. It decides; the gateway's pool
acts (sends, answers, closes) and reports back.

One frame is in flight per worker, so that what comes meanwhile grows into one large frame instead of two small ones.
Only when a whole frame's rows wait already may a busy worker be sent its next frame ahead: it cannot grow any more, and
the worker need not wait for the gateway, which under overload has other things to do. That second frame has not been
begun, so if its worker dies, its requests go back as if nothing had been.

A stream whose reader is slower than its worker is parked: the frame stays with the worker, and the worker is free.

With a `concurrency` above 1 a worker has so many frames in flight, each of one request: its model mostly waits, and
then merging gains nothing. What is left of a worker that died goes alone to a worker that does nothing else, so that
the one who killed it takes nobody with it. A worker that is silent over one frame gets nothing new, and is given up
when it is silent over all that it has: whoever else is with it is answered first.

Pure: time is a number of seconds on any clock that does not go back.
"""

from __future__ import annotations

from typing import Any, Generic

from headrace.core.protocol.messages import BatchOptions, QueueOptions
from headrace.core.serving.admission import Admission
from headrace.core.serving.batching import DONE, NEVER_S, QUEUED, SENT, Lanes, W
from headrace.core.serving.parking import Parking

MAX_LOSSES = 2
"""A request that was in the hands of this many workers when they died is not given to another."""

_NOTHING: dict[int, Any] = {}


class Frame(Generic[W]):
    """What one worker was sent: `works` in the order of their answers.

    `progress_s` is when the worker last showed a sign of life for it, `act_s` when somebody must look at it again.
    `begun`: it is a stream that was parked, and goes on where it stopped. `is_suspect`: a worker died with it before.
    """

    __slots__ = ("act_s", "begun", "is_suspect", "number", "progress_s", "sent_s", "solo", "worker", "works")

    def __init__(self, number: int, worker: str, works: list[W], now_s: float, act_s: float) -> None:
        self.number = number
        self.worker = worker
        self.works = works
        self.sent_s = now_s
        self.progress_s = now_s
        self.act_s = act_s
        self.solo = works[0].solo
        self.is_suspect = works[0].losses > 0
        self.begun = False

    def __repr__(self) -> str:
        return f"<Frame {self.number} of {len(self.works)} with {self.worker}>"


class Dispatcher(Generic[W]):
    """The decisions of one pool.

    `timeout_s` is how long a worker may be silent over a frame, `concurrency` how many frames it may have. `overdue`
    collects requests that were found late while a frame was put together: the caller answers them and empties it.
    `wake_s` is when `next_frame` should be asked again although nothing happens (only with
    `BatchOptions.max_delay_ms`).
    """

    __slots__ = (
        "_busy",
        "_busy_solo",
        "_idle",
        "_number",
        "_queued",
        "_retiring",
        "_stuck",
        "_suspects",
        "admission",
        "batch",
        "concurrency",
        "lanes",
        "mergeable",
        "overdue",
        "parking",
        "timeout_s",
        "wake_s",
    )

    def __init__(
        self,
        batch: BatchOptions,
        queue: QueueOptions,
        *,
        timeout_s: float,
        mergeable: bool,
        now_s: float = 0.0,
    ) -> None:
        self.batch = batch
        self.admission = Admission(queue, now_s)
        self.timeout_s = timeout_s
        self.mergeable = mergeable
        self.lanes: Lanes[W] = Lanes()
        self.overdue: list[W] = []
        self.wake_s = NEVER_S
        self._idle: list[str] = []
        self._busy: dict[str, dict[int, Frame[W]]] = {}
        self._queued: dict[str, Frame[W]] = {}
        self._retiring: set[str] = set()
        self.parking: Parking[Frame[W]] = Parking()
        self._stuck: set[str] = set()
        self._busy_solo = 0
        self._suspects = 0
        self._number = 0
        self.concurrency = 1

    def __repr__(self) -> str:
        return f"<Dispatcher idle={self._idle} busy={sorted(self._busy)} {self.lanes!r}>"

    @property
    def idle(self) -> bool:
        """Whether a worker waits for something to do."""
        return bool(self._idle)

    @property
    def eager(self) -> bool:
        """Whether `next_frame` is worth asking: a worker has time, or may be sent a full frame ahead."""
        if self._idle or self._least_busy() is not None:
            return True
        return self.lanes.rows >= self.batch.max_rows and len(self._queued) < len(self._busy)

    @property
    def workers(self) -> int:
        """How many workers could take a frame now or when they are done."""
        return len(self._idle) + len(self._busy.keys() - self._retiring)

    @property
    def in_flight(self) -> int:
        """How many requests are with workers, given-up ones included."""
        return sum(len(frame.works) for frame in self.frames()) + len(self.parking)

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._busy and not self.lanes.count and not len(self.parking)

    def frames(self) -> list[Frame[W]]:
        """All frames in flight but those that are parked: what workers are to work on now."""
        return [*(frame for frames in self._busy.values() for frame in frames.values()), *self._queued.values()]

    def find(self, worker: str, number: int) -> Frame[W] | None:
        """The frame of that number that `worker` works on."""
        return self._busy.get(worker, _NOTHING).get(number)

    def add_worker(self, worker: str) -> None:
        """A worker is connected and idle."""
        self._idle.append(worker)

    def retire_worker(self, worker: str) -> bool:
        """Give `worker` nothing new; True if it is idle and may be let go at once, False: when its frames are done."""
        if worker in self._idle:
            self._idle.remove(worker)
        if worker in self._busy or worker in self.parking:
            self._retiring.add(worker)
            return False
        return True

    def offer(self, work: W) -> bool:
        """Queue `work`; False if the queue is full and it must be turned away."""
        lanes = self.lanes
        if not self.admission.admits(lanes.rows, lanes.size_bytes, work.rows, work.size_bytes):
            return False
        self.requeue(work)
        return True

    def requeue(self, work: W) -> None:
        """Queue `work` without asking whether there is room: it was admitted before, elsewhere."""
        batch = self.batch
        if work.rows > batch.max_rows or work.size_bytes > batch.max_bytes:
            work.solo = True
        self.lanes.add(work)

    def next_frame(self, now_s: float) -> Frame[W] | None:
        """Decide the next frame, or None. Ask again until None; then look at `overdue` and `wake_s`.

        One that has `begun` is not to be sent: its worker is to go on with it.
        """
        lanes = self.lanes
        if self.parking.any_ready:
            found = self.parking.next(self._full(), self._idle, others_wait=lanes.count > 0)
            if found is not None:
                return self._go_on(*found, now_s)
        if not lanes.count:
            return None
        batch = self.batch
        spare = None if self._idle else self._least_busy()
        if not self._idle and spare is None:
            return self._next_ahead(now_s) if lanes.rows >= batch.max_rows and self.mergeable else None
        if batch.max_delay_ms > 0.0 and self._hold(now_s):
            return None
        others = (len(self._idle) + len(self._busy)) * self.concurrency - 1
        works = lanes.take(
            batch.max_rows,
            batch.max_bytes,
            now_s,
            self.overdue,
            solo_allowed=self._busy_solo < max(1, others),
            max_works=1 << 16 if self.mergeable and self.concurrency == 1 else 1,
        )
        if not works:
            return None
        # The most recently used one: its caches are warm, and under light load the others stay asleep. A probe looks
        # after those: it goes to the one that has been idle longest, so that each gets its turn.
        worker = spare if spare is not None else self._idle.pop(0 if works[0].probe else -1)
        frame = self._frame(worker, works, now_s)
        self._begin(frame)
        self.parking.gave_a_turn(worker)
        return frame

    def park(self, frame: Frame[W]) -> None:
        """The reader of this stream has not taken what was sent of it: its worker may do something else."""
        self._end(frame)
        frame.begun = True
        self.parking.park(frame.worker, frame.number, frame)

    def drop_parked(self, frame: Frame[W]) -> bool:
        """A parked stream is over. Returns as `done` does."""
        worker = frame.worker
        self.parking.remove(worker, frame.number)
        return worker in self._busy or self._goes_on(worker)

    def done(self, frame: Frame[W], now_s: float) -> bool:
        """A worker has answered its frame. True: it goes on; False: it was retiring and may be let go."""
        worker = frame.worker
        following = self._queued.pop(worker, None)
        if following is not None:
            # Its time with the worker begins now.
            following.progress_s = now_s
            self._begin(following)
        self._end(frame)
        if worker in self._stuck and not any(self._is_silent(other, now_s) for other in self._with(worker)):
            self._stuck.discard(worker)
        rows = 0
        for work in frame.works:
            rows += work.rows
        self.admission.served(rows, now_s)
        return worker in self._busy or self._goes_on(worker)

    def lost(self, worker: str) -> tuple[int, list[W]]:
        """The worker is gone. Return how many live requests it held, and those of them that must be answered now.

        The others wait again, each for a frame of its own and before everything else. The caller excludes a stream
        that has begun by setting its state to DONE first: what a client has seen cannot be taken back.
        """
        if worker in self._idle:
            self._idle.remove(worker)
        self._retiring.discard(worker)
        self._stuck.discard(worker)
        self.parking.lost(worker)
        frames = self._with(worker)
        if not frames:
            return 0, []
        for frame in frames:
            self._end(frame)
        if worker in self._idle:
            self._idle.remove(worker)
        following = self._queued.pop(worker, None)
        unbegun = [work for work in following.works if work.state == SENT] if following is not None else []
        for work in reversed(unbegun):
            self.lanes.put_back(work)
        live = [work for frame in frames for work in frame.works if work.state == SENT]
        failed: list[W] = []
        for work in reversed(live):
            work.losses += 1
            if work.losses >= MAX_LOSSES:
                work.state = DONE
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
            work.state = DONE

    def overtime(self, now_s: float) -> tuple[list[W], list[Frame[W]]]:
        """Return the requests whose deadline has passed (now DONE) and the frames whose worker was silent too long."""
        late = self.lanes.expire(now_s)
        hung: list[Frame[W]] = []
        for frame in self.frames():
            if now_s < frame.act_s:
                continue
            begun = self.find(frame.worker, frame.number) is not None
            limit_s = (frame.progress_s if begun else now_s) + self.timeout_s
            act_s = limit_s
            for work in frame.works:
                if work.state != SENT:
                    continue
                if work.deadline_s <= now_s:
                    work.state = DONE
                    late.append(work)
                elif work.deadline_s < act_s:
                    act_s = work.deadline_s
            frame.act_s = act_s
            if limit_s <= now_s:
                self._stuck.add(frame.worker)
                if all(self._is_silent(other, now_s) for other in self._with(frame.worker)):
                    hung.append(frame)
        return late, hung

    def evict(self) -> list[W]:
        """Take everything that waits out, for another pool to finish."""
        return self.lanes.clear()

    def _next_ahead(self, now_s: float) -> Frame[W] | None:
        """Send the worker that has worked longest its next frame before it is done, if that frame is full already."""
        for worker, frames in self._busy.items():
            busy = next(iter(frames.values()))
            if len(frames) == 1 and worker not in self._queued and worker not in self._retiring and not busy.solo:
                batch = self.batch
                works = self.lanes.take_full(batch.max_rows, batch.max_bytes, now_s, self.overdue)
                if not works:
                    return None
                frame = self._queued[worker] = self._frame(worker, works, now_s)
                return frame
        return None

    def _go_on(self, worker: str, number: int, frame: Frame[W], now_s: float) -> Frame[W]:
        self.parking.remove(worker, number)
        if worker in self._idle:
            self._idle.remove(worker)
        self._begin(frame)
        # Its worker's silence counts from now on.
        frame.progress_s = now_s
        frame.act_s = now_s + self.timeout_s
        return frame

    def _begin(self, frame: Frame[W]) -> None:
        self._busy.setdefault(frame.worker, {})[frame.number] = frame
        self._busy_solo += frame.solo
        self._suspects += frame.is_suspect

    def _end(self, frame: Frame[W]) -> None:
        worker = frame.worker
        frames = self._busy[worker]
        del frames[frame.number]
        self._busy_solo -= frame.solo
        self._suspects -= frame.is_suspect
        if not frames:
            del self._busy[worker]
            if worker not in self._retiring:
                self._idle.append(worker)

    def _with(self, worker: str) -> list[Frame[W]]:
        return list(self._busy.get(worker, _NOTHING).values())

    def _is_silent(self, frame: Frame[W], now_s: float) -> bool:
        return frame.progress_s + self.timeout_s <= now_s

    def _least_busy(self) -> str | None:
        """The worker with the fewest frames that may have another beside them."""
        if self.concurrency == 1 or self._suspects or self.lanes.has_suspect:
            return None
        found, fewest = None, self.concurrency
        for worker, frames in self._busy.items():
            if len(frames) < fewest and worker not in self._retiring and worker not in self._stuck:
                found, fewest = worker, len(frames)
        return found

    def _full(self) -> set[str]:
        """The workers that may not have another frame."""
        return {worker for worker, frames in self._busy.items() if len(frames) >= self.concurrency or self._suspects}

    def _goes_on(self, worker: str) -> bool:
        """Whether a worker that has nothing in hand is still wanted: unless it was retiring, and is done."""
        if worker not in self._retiring or worker in self.parking:
            return True
        self._retiring.discard(worker)
        return False

    def _frame(self, worker: str, works: list[W], now_s: float) -> Frame[W]:
        act_s = now_s + self.timeout_s
        for work in works:
            work.state = SENT
            work.sent_s = now_s
            act_s = min(act_s, work.deadline_s)
        self._number = (self._number + 1) & 0xFFFFFFFF
        return Frame(self._number, worker, works, now_s, act_s)

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
