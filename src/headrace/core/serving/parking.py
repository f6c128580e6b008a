"""Streams that cannot go on now. Their workers do other work meanwhile and return to them later.

A stream is *parked* when its reader has not taken what was sent, and *ready* when it has. The rule of fairness: a
stream that is ready goes on before what is queued, but after its worker has left a stream it does one thing of the
queue first, if anything waits. So neither holds up the other for longer than one turn.

Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Generic, TypeVar

F = TypeVar("F")


class Parking(Generic[F]):
    """The parked streams of one pool, by the name of their worker and the number of their frame."""

    __slots__ = ("_owes_a_turn", "_parked", "_ready")

    def __init__(self) -> None:
        self._parked: dict[str, dict[int, F]] = {}
        self._ready: dict[str, dict[int, F]] = {}
        self._owes_a_turn: set[str] = set()

    def __repr__(self) -> str:
        return f"<Parking {list(self)}>"

    def __len__(self) -> int:
        return sum(map(len, self._parked.values()))

    def __contains__(self, worker: str) -> bool:
        """Whether a stream of this worker is parked."""
        return worker in self._parked

    def __iter__(self) -> Iterator[F]:
        return (frame for frames in self._parked.values() for frame in frames.values())

    @property
    def any_ready(self) -> bool:
        """Whether a stream could go on."""
        return bool(self._ready)

    def find(self, worker: str, number: int) -> F | None:
        """The parked frame of that number."""
        return self._parked.get(worker, {}).get(number)

    def park(self, worker: str, number: int, frame: F) -> None:
        """`worker` leaves this stream for now."""
        self._parked.setdefault(worker, {})[number] = frame
        self._owes_a_turn.add(worker)

    def wake(self, worker: str, number: int) -> None:
        """The stream can go on as soon as its worker has time; nothing happens if it is not parked."""
        frame = self.find(worker, number)
        if frame is not None:
            self._ready.setdefault(worker, {})[number] = frame

    def remove(self, worker: str, number: int) -> None:
        """The stream is over, or goes on now; nothing happens if it was not parked."""
        for streams in (self._ready, self._parked):
            frames = streams.get(worker, {})
            frames.pop(number, None)
            if not frames:
                streams.pop(worker, None)

    def next(self, busy: Container[str], idle: Container[str], *, others_wait: bool) -> tuple[str, int, F] | None:
        """Return a stream that can go on: its worker is not `busy`, and does not owe its turn to what waits.

        A worker that is not `idle` either gets nothing new, and owes nothing.
        """
        for worker, frames in self._ready.items():
            if worker in busy or (others_wait and worker in self._owes_a_turn and worker in idle):
                continue
            number, frame = next(iter(frames.items()))
            return worker, number, frame
        return None

    def gave_a_turn(self, worker: str) -> None:
        """`worker` does something of the queue."""
        self._owes_a_turn.discard(worker)

    def lost(self, worker: str) -> None:
        """`worker` is gone, and its streams with it."""
        self._ready.pop(worker, None)
        self._owes_a_turn.discard(worker)
        self._parked.pop(worker, None)
