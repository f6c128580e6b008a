"""The workers of one pool, and the frames that each of them has. It knows nothing of queues.

Pure: time is a number of seconds on any clock that does not go back.
"""

from __future__ import annotations

from typing import Any, Generic

from headrace.core.serving.batching import W

_NOTHING: dict[int, Any] = {}


class Frame(Generic[W]):
    """What one worker was sent: `works` in the order of their answers.

    `progress_s` is when the worker last showed a sign of life for it, `act_s` when somebody must look at it again.
    `resumes`: it is a stream that was parked, and goes on where it stopped. `is_suspect`: it must be alone
    with its worker, as one died with it before. `beside`: its worker had another frame meanwhile.
    """

    __slots__ = (
        "act_s",
        "beside",
        "is_suspect",
        "number",
        "progress_s",
        "resumes",
        "sent_s",
        "solo",
        "worker",
        "works",
    )

    def __init__(self, number: int, worker: str, works: list[W], now_s: float, act_s: float) -> None:
        self.number = number
        self.worker = worker
        self.works = works
        self.sent_s = now_s
        self.progress_s = now_s
        self.act_s = act_s
        self.solo = works[0].solo
        self.is_suspect = works[0].losses > 0
        self.resumes = self.beside = False

    def __repr__(self) -> str:
        return f"<Frame {self.number} of {len(self.works)} with {self.worker}>"

    def is_silent(self, now_s: float, timeout_s: float) -> bool:
        """Whether its worker has shown no sign of life for that long."""
        return self.progress_s + timeout_s <= now_s


class Assignments(Generic[W]):
    """The workers and their frames.

    A worker is in `idle`, the most recently used one last, or it is in `busy` with its frames by their numbers, in the
    order in which they were begun. `ahead` has the frame that a busy worker was sent but has not begun. `solo` and
    `suspects` count frames in `busy`. A worker in `stuck` is silent over one of its frames, and gets nothing new.
    """

    __slots__ = ("_retiring", "ahead", "busy", "concurrency", "idle", "solo", "stuck", "suspects")

    def __init__(self) -> None:
        self.idle: list[str] = []
        self.busy: dict[str, dict[int, Frame[W]]] = {}
        self.ahead: dict[str, Frame[W]] = {}
        self.stuck: set[str] = set()
        self.solo = self.suspects = 0
        self.concurrency = 1
        self._retiring: set[str] = set()

    def __repr__(self) -> str:
        return f"<Assignments idle={self.idle} busy={sorted(self.busy)}>"

    @property
    def count(self) -> int:
        """How many workers could take a frame now or when they are done."""
        return len(self.idle) + len(self.busy.keys() - self._retiring)

    def frames(self) -> list[Frame[W]]:
        """All frames that were sent, begun or not."""
        return [*(frame for frames in self.busy.values() for frame in frames.values()), *self.ahead.values()]

    def begun_by(self, worker: str) -> list[Frame[W]]:
        """The frames that `worker` works on."""
        return list(self.busy.get(worker, _NOTHING).values())

    def find(self, worker: str, number: int) -> Frame[W] | None:
        """The frame of that number that `worker` works on."""
        return self.busy.get(worker, _NOTHING).get(number)

    def begin(self, frame: Frame[W]) -> None:
        """Its worker, which the caller has taken out of `idle`, works on it from now on."""
        frames = self.busy.setdefault(frame.worker, {})
        if frames:
            frame.beside = next(iter(frames.values())).beside = True
        frames[frame.number] = frame
        self.solo += frame.solo
        self.suspects += frame.is_suspect

    def end(self, frame: Frame[W]) -> None:
        """Its worker is done with it, and idle if that was all."""
        worker = frame.worker
        frames = self.busy[worker]
        del frames[frame.number]
        self.solo -= frame.solo
        self.suspects -= frame.is_suspect
        if not frames:
            del self.busy[worker]
            if worker not in self._retiring:
                self.idle.append(worker)

    def retire(self, worker: str) -> None:
        """Give `worker` nothing new from now on; it is not idle."""
        self._retiring.add(worker)

    def is_retiring(self, worker: str) -> bool:
        """Whether it finishes its frames and gets no new ones."""
        return worker in self._retiring

    def remove(self, worker: str) -> None:
        """Remove a worker that has ended. The caller deals with its frames first."""
        if worker in self.idle:
            self.idle.remove(worker)
        self._retiring.discard(worker)
        self.stuck.discard(worker)

    def least_busy(self) -> str | None:
        """The worker with the fewest frames that may have another beside them."""
        if self.suspects:
            return None
        found, fewest = None, self.concurrency
        for worker, frames in self.busy.items():
            if len(frames) < fewest and worker not in self._retiring and worker not in self.stuck:
                found, fewest = worker, len(frames)
        return found

    def full(self) -> set[str]:
        """The workers that may not have another frame."""
        return {worker for worker, frames in self.busy.items() if len(frames) >= self.concurrency or self.suspects}
