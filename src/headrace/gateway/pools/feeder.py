"""Carries out what a pool's dispatcher decides about its workers: frames go out, late work is found, workers leave.

The one place where work is queued, and so the one that sees that somebody looks again at what is queued.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from headrace.core.protocol.messages import WorkerHung
from headrace.core.serving.batching import NEVER_S
from headrace.core.serving.gathering import Gathering
from headrace.gateway.pools.rows import estimate_rows

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from headrace.core.serving.assignments import Frame
    from headrace.core.serving.dispatching import Dispatcher
    from headrace.gateway.exchange import Job
    from headrace.gateway.pools.crew import Crew
    from headrace.gateway.state import GatewayState

_SWEEP_S = 0.05


class FeederEvents(Protocol):
    """Who a `Feeder` reports to."""

    def resume(self, frame: Frame[Job]) -> None:
        """The worker of a parked stream has time for it."""

    def too_late(self, jobs: Sequence[Job], now_s: float) -> None:
        """The deadlines of these have passed; they are in no queue any more."""

    def hung(self) -> None:
        """A worker was silent for too long; its connection is being ended."""

    def call(self) -> None:
        """Something waits, and there is no worker."""

    def swept(self, now_s: float) -> None:
        """It is time to look for what else is late."""


class Feeder:
    """Has the dispatcher of one pool (`core`) and its workers (`crew`)."""

    __slots__ = ("_due", "_events", "_gathering", "_state", "_sweep", "_wake", "core", "crew")

    def __init__(self, state: GatewayState, core: Dispatcher[Job], crew: Crew, events: FeederEvents) -> None:
        self.core = core
        self.crew = crew
        self._state = state
        self._events = events
        self._due = False
        self._gathering = Gathering()
        self._sweep: asyncio.TimerHandle | None = None
        self._wake: asyncio.TimerHandle | None = None

    def enqueue(self, job: Job, *, admitted: bool = False) -> bool:
        """Queue `job`; False where there is no room for it, unless it was `admitted` before, elsewhere."""
        core = self.core
        if not admitted:
            job.rows = estimate_rows(job.head, job.body)
        if not core.offer(job, admitted=admitted):
            return False
        if not self._due and core.eager:
            # Not at once: what other connections send in the same moment goes into the same frame.
            self._due = True
            self._gathering.begin(core.lanes.count)
            self._state.loop.call_soon(self._gather)
        if self._sweep is None:
            self._sweep = self._state.loop.call_later(_SWEEP_S, self._on_sweep)
            if not self.crew:
                self._events.call()
        return True

    def flush(self) -> None:
        """Give the workers that have time what there is for them."""
        self._due = False
        core = self.core
        now_s = monotonic()
        while (frame := core.next_frame(now_s)) is not None:
            if frame.resumes:
                self._events.resume(frame)
            else:
                log = self._state.spans
                contexts = log.contexts(frame.works) if log is not None else None
                self.crew[frame.worker].send(frame, beside=core.calls.beside(frame), contexts=contexts)
        if core.overdue:
            late, core.overdue = core.overdue, []
            self._events.too_late(late, now_s)
        if core.wake_s != NEVER_S and self._wake is None:
            self._wake = self._state.loop.call_later(max(0.0, core.wake_s - now_s), self._on_wake)

    def done(self, frame: Frame[Job], now_s: float) -> None:
        """A worker has done its frame, and takes the next or is let go."""
        core = self.core
        if not core.done(frame, now_s):
            self.crew.let_go(frame.worker)
        elif core.lanes.count or core.parking.any_ready:
            # The worker gets its next frame before its answers are written: it need not wait for that.
            self.flush()

    def retire(self, worker: str) -> None:
        """Give `worker` nothing new, and let it go when it has done what it has."""
        if self.core.retire_worker(worker):
            self.crew.let_go(worker)

    def close(self) -> None:
        """Look at nothing any more."""
        for timer in (self._sweep, self._wake):
            if timer is not None:
                timer.cancel()

    def _gather(self) -> None:
        """Called once a turn of the loop, after all sockets were read."""
        lanes = self.core.lanes
        if lanes.rows < self.core.batch.max_rows and self._gathering.goes_on(lanes.count):
            self._state.loop.call_soon(self._gather)
        elif self._due:  # else a worker that was done has taken them
            self.flush()

    def _on_wake(self) -> None:
        self._wake = None
        self.core.wake_s = NEVER_S
        self.flush()

    def _on_sweep(self) -> None:
        self._sweep = None
        now_s = monotonic()
        late, hung = self.core.overtime(now_s)
        self._events.too_late(late, now_s)
        for frame in hung:
            self._events.hung()
            self._state.report(WorkerHung(frame.worker, now_s - frame.sent_s))
            self.crew.condemn(frame.worker)
        if not self.core.empty:
            self._sweep = self._state.loop.call_later(_SWEEP_S, self._on_sweep)
        self._events.swept(now_s)
