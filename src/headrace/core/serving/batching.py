"""The queue of one pool: the requests that wait for a worker, and the choice of the next frame.

Two lanes. The *shared* lane holds requests that may travel together; they leave in the order they came, as many as
fit a frame. The *solo* lane holds those that travel alone: requests larger than a frame, streams, and requests whose
worker died (the one that killed it must not hurt its neighbours again).

The rule of fairness, in one sentence: while both lanes wait, they take turns, and the solo lane is passed over as
long as the caller says that it holds every other worker already. So a request of the shared lane never waits for two
solo requests in a row, and a solo request never waits for two frames of the shared lane in a row unless other solo
requests are being worked on.

Pure: time is a number of seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Generic, TypeVar

from headrace_worker.wire import MAX_HEADS

NEW = 0
QUEUED = 1
SENT = 2
DONE = 3
GONE = 4
"""Life of a `Work`: NEW -> QUEUED -> SENT -> DONE; SENT -> QUEUED after a lost worker; GONE: it has ended otherwise."""

NEVER_S = float("inf")


class Work:
    """One request as the queue sees it.

    `rows` is an estimate (see `gateway.pools.rows`), `head` and `body` what a worker is sent, `deadline_s` the moment
    after which nobody waits for the answer, `losses` how many workers died with it in their hands.
    `solo` requests travel alone. `state` is written by `Lanes` and `Dispatcher` only. `probe` is true of requests that
    no client has sent: they travel alone, to the worker that has been idle longest.
    """

    __slots__ = (
        "arrived_s",
        "body",
        "deadline_s",
        "head",
        "losses",
        "rows",
        "sent_s",
        "size_bytes",
        "solo",
        "state",
        "stream",
    )

    probe: ClassVar[bool] = False

    arrived_s: float
    body: bytes
    deadline_s: float
    head: bytes
    losses: int
    rows: int
    sent_s: float
    size_bytes: int
    solo: bool
    state: int
    stream: bool

    def __init__(
        self,
        head: bytes,
        body: bytes,
        *,
        rows: int = 1,
        arrived_s: float = 0.0,
        deadline_s: float = NEVER_S,
        stream: bool = False,
    ) -> None:
        self.head = head
        self.body = body
        self.rows = rows
        self.size_bytes = len(body)
        self.arrived_s = arrived_s
        self.sent_s = arrived_s
        self.deadline_s = deadline_s
        self.stream = stream
        self.solo = stream
        self.losses = 0
        self.state = NEW


W = TypeVar("W", bound=Work)


class Lanes(Generic[W]):
    """The two lanes of a pool; `rows`, `size_bytes` and `count` are exact for what still waits."""

    __slots__ = (
        "_dead",
        "_shared",
        "_shared_live",
        "_solo",
        "_solo_live",
        "_solo_turn",
        "_soonest_s",
        "rows",
        "size_bytes",
    )

    def __init__(self) -> None:
        self._shared: deque[W] = deque()
        self._solo: deque[W] = deque()
        self._shared_live = 0
        self._solo_live = 0
        self._solo_turn = False
        self._dead = 0
        self._soonest_s = NEVER_S
        self.rows = 0
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Lanes shared={self._shared_live} solo={self._solo_live} rows={self.rows} bytes={self.size_bytes}>"

    @property
    def count(self) -> int:
        """How many requests wait."""
        return self._shared_live + self._solo_live

    @property
    def has_suspect(self) -> bool:
        """Whether a request waits that was with a worker when that died: such stand first in their lane."""
        first = next((work for work in self._solo if work.state == QUEUED), None) if self._solo_live else None
        return first is not None and first.losses > 0

    def add(self, work: W) -> None:
        """Put `work` at the end of its lane."""
        if work.solo:
            self._solo.append(work)
            self._solo_live += 1
        else:
            self._shared.append(work)
            self._shared_live += 1
        self._count_in(work)

    def add_first(self, work: W) -> None:
        """Put `work` before everything else in the solo lane: it has waited once already."""
        work.solo = True
        self._solo.appendleft(work)
        self._solo_live += 1
        self._count_in(work)

    def put_back(self, work: W) -> None:
        """Put `work` before everything else in the shared lane: it was sent, but no worker has begun with it."""
        self._shared.appendleft(work)
        self._shared_live += 1
        self._count_in(work)

    def give_up(self, work: W) -> None:
        """The client does not wait for `work` any more: it never reaches a worker, and its body is released at once."""
        self._count_out(work)
        work.state = GONE
        work.body = b""
        self._dead += 1
        if self._dead > 64 and self._dead > self.count:
            self._shared = deque([w for w in self._shared if w.state == QUEUED])
            self._solo = deque([w for w in self._solo if w.state == QUEUED])
            self._dead = 0

    def take(
        self,
        max_rows: int,
        max_bytes: int,
        now_s: float,
        overdue: list[W],
        *,
        solo_allowed: bool,
        max_works: int,
    ) -> list[W]:
        """Take the next frame's requests out, in order; empty if nothing waits.

        A frame holds one solo request, or requests of the shared lane with at most `max_rows` rows and `max_bytes`
        bytes together (a single one may exceed both) and at most `max_works` requests. Requests whose deadline has
        passed are moved to `overdue` instead. `solo_allowed` False passes the solo lane over while the other waits.
        """
        if self._solo_live and (not self._shared_live or (self._solo_turn and solo_allowed)):
            works = self._take_solo(now_s, overdue)
            if works:
                self._solo_turn = False
                return works
        works = self._take_shared(max_rows, max_bytes, max_works, now_s, overdue)
        if works:
            self._solo_turn = True
            return works
        # Everything that was looked at was overdue; the other lane may still hold something.
        works = self._take_solo(now_s, overdue) if self._solo_live else []
        self._solo_turn = False
        return works

    def take_full(self, max_rows: int, max_bytes: int, now_s: float, overdue: list[W]) -> list[W]:
        """Take out a frame's worth of the shared lane if that much waits and nothing else does; else nothing."""
        if self._solo_live or self.rows < max_rows:
            return []
        return self._take_shared(max_rows, max_bytes, self._shared_live, now_s, overdue)

    def expire(self, now_s: float) -> list[W]:
        """Take out the requests whose deadline has passed. Costs nothing while the soonest deadline is ahead."""
        if now_s < self._soonest_s:
            return []
        late: list[W] = []
        soonest_s = NEVER_S
        for lane in (self._shared, self._solo):
            for work in lane:
                if work.state != QUEUED:
                    continue
                if work.deadline_s <= now_s:
                    late.append(work)
                elif work.deadline_s < soonest_s:
                    soonest_s = work.deadline_s
        self._soonest_s = soonest_s
        for work in late:
            self.give_up(work)
        return late

    def clear(self) -> list[W]:
        """Take out everything that waits, oldest first within each lane, the shared lane first."""
        works = [w for lane in (self._shared, self._solo) for w in lane if w.state == QUEUED]
        for work in works:
            self._count_out(work)
            work.state = NEW
        self._shared.clear()
        self._solo.clear()
        self._dead = 0
        self._soonest_s = NEVER_S
        return works

    def oldest_wait_s(self, now_s: float) -> float:
        """How long the one has waited that waits longest; 0 where nothing waits."""
        firsts = (next((work for work in lane if work.state == QUEUED), None) for lane in (self._shared, self._solo))
        return max((now_s - work.arrived_s for work in firsts if work is not None), default=0.0)

    def shared_rows_waiting_since(self) -> tuple[int, float] | None:
        """Return (rows, arrival of the oldest) of the shared lane if it is the only one that waits, else None."""
        if self._solo_live or not self._shared_live:
            return None
        lane = self._shared
        while lane[0].state != QUEUED:
            lane.popleft()
            self._dead -= 1
        return self.rows, lane[0].arrived_s

    def _take_solo(self, now_s: float, overdue: list[W]) -> list[W]:
        lane = self._solo
        while lane:
            work = lane.popleft()
            if work.state != QUEUED:
                self._dead -= 1
                continue
            self._count_out(work)
            if work.deadline_s <= now_s:
                work.state = GONE
                overdue.append(work)
                continue
            return [work]
        return []

    def _take_shared(self, max_rows: int, max_bytes: int, max_works: int, now_s: float, overdue: list[W]) -> list[W]:
        lane = self._shared
        works: list[W] = []
        rows = size_bytes = gone = 0
        heads = 1
        last_head: bytes | None = None
        seen: set[bytes] | None = None
        while lane:
            work = lane[0]
            if work.state != QUEUED:
                lane.popleft()
                self._dead -= 1
                continue
            if work.deadline_s <= now_s:
                lane.popleft()
                self._count_out(work)
                work.state = GONE
                overdue.append(work)
                continue
            if works:
                if rows + work.rows > max_rows or size_bytes + work.size_bytes > max_bytes or gone >= max_works:
                    break
                if work.head is not last_head and work.head != last_head:
                    # A frame's table of heads is bounded; nearly always there is one.
                    seen = {w.head for w in works} if seen is None else seen
                    seen.add(work.head)
                    heads = len(seen)
                    if heads > MAX_HEADS:
                        break
            last_head = work.head
            lane.popleft()
            works.append(work)
            rows += work.rows
            size_bytes += work.size_bytes
            gone += 1
        self._shared_live -= gone
        self.rows -= rows
        self.size_bytes -= size_bytes
        return works

    def _count_in(self, work: W) -> None:
        work.state = QUEUED
        self.rows += work.rows
        self.size_bytes += work.size_bytes
        if work.deadline_s < self._soonest_s:  # noqa: PLR1730 - a call for each request
            self._soonest_s = work.deadline_s

    def _count_out(self, work: W) -> None:
        if work.solo:
            self._solo_live -= 1
        else:
            self._shared_live -= 1
        self.rows -= work.rows
        self.size_bytes -= work.size_bytes
