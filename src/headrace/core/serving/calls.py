"""How many calls a worker of one pool has at a time, as set or as measured (`concurrency`).

Pure, and without a clock.
"""

from __future__ import annotations

from typing import Generic

from headrace.core.serving.assignments import Assignments, Frame
from headrace.core.serving.batching import DONE, QUEUED, SENT, W
from headrace.core.serving.concurrency import ConcurrencyFinder
from headrace.core.serving.suspicion import Suspicion
from headrace_worker.wire import Timing


class Calls(Generic[W]):
    """Sets the `concurrency` of `workers`.

    `merges`: a call may be for several requests. `ahead`: a worker may be sent one more before it is done; else calls
    are made in threads. `alone`: where it is left to be found out how many there may be, it is one. `trial` has failed
    beside others, and is to be tried alone.
    """

    __slots__ = ("_finder", "_suspicion", "_workers", "ahead", "alone", "merges", "trial")

    def __init__(self, workers: Assignments[W]) -> None:
        self.alone = False
        self.merges = self.ahead = True
        self.trial: W | None = None
        self._workers = workers
        self._suspicion = Suspicion()
        self._finder: ConcurrencyFinder | None = None

    def configure(self, concurrency: int | None) -> None:
        """Set the number of calls in a worker; None: measure it."""
        if concurrency is None and not self.alone:
            self._finder = self._finder or ConcurrencyFinder()
            self._heed(self._finder)
        else:
            self._finder = None
            self._workers.concurrency = concurrency or 1
            self.merges = self.ahead = self._workers.concurrency == 1

    def beside(self, frame: Frame[W]) -> bool:
        """Whether a worker is to answer this frame in a thread, beside others and its own loop."""
        # A stream lasts, and nobody knows how long: its worker is to be heard meanwhile.
        return not self.ahead or (frame.works[0].stream and self._finder is not None)

    def answered(self, frame: Frame[W], timing: Timing, *, others_wait: bool) -> None:
        """A worker has answered this frame."""
        finder = self._finder
        if finder is not None:
            wall_s = (timing.parse_us + timing.predict_us + timing.serialise_us) / 1e6
            spent = timing.cpu_us / 1e6, timing.delay_us / 1e6
            finder.answered(len(frame.works), wall_s, *spent, others_wait=others_wait)
            self._heed(finder)

    def over(self, frame: Frame[W], *, failed: bool) -> bool:
        """What became of a frame. Returns whether its only work is the `trial` from now on, and not to be answered."""
        if self._finder is None or len(frame.works) > 1:
            return False
        (work,) = frame.works
        if work is self.trial:
            self.trial = None
            self._suspicion.tried(failed=failed)
            if self._suspicion.is_proven:
                self.alone = True
                self.configure(None)
            return False
        is_worth_it = self._suspicion.count(beside=frame.beside, failed=failed) and work.state == SENT
        if not is_worth_it or (self.trial is not None and self.trial.state != DONE):
            return False
        self.trial = work
        return True

    @property
    def trial_waits(self) -> bool:
        """Whether the trial waits for an idle worker."""
        return self.trial is not None and self.trial.state == QUEUED

    def waits(self, wall_us: int, cpu_us: int, delay_us: int) -> None:
        """A worker reports that its present call mostly waits."""
        finder = self._finder
        if finder is not None:
            finder.goes_on(wall_us / 1e6, cpu_us / 1e6, delay_us / 1e6)
            self._heed(finder)

    def _heed(self, finder: ConcurrencyFinder) -> None:
        self._workers.concurrency, self.merges, self.ahead = finder.limit, finder.merges, not finder.apart
