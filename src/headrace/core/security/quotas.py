"""Quotas of clients: per second, at a time, and per day; for all gateway processes of a machine together.

Each process writes what its clients use into a part of a shared memory that only it writes, and reads all parts. So
no lock is needed, which a stopped process could hold for ever: of two that look in the same moment both may take the
last that is left, and no more than that. What was used stays when a process is replaced.

Pure: `now_s` is a clock that never goes back and that all processes share, `wall_s` a Unix time, which says what day
it is (of UTC).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b

import msgspec

_WIDTH = 10
_SLOT_BYTES = _WIDTH * 8
_SLOTS = 16_384
_TRIED = 16
_DAY_S = 86_400
_MOST_ACCOUNTS = 20_000
_REQUESTS, _ROWS, _DAY, _DAY_ROWS, _UNDER_WAY, _USED_S, _LEFT_REQUESTS, _LEFT_ROWS = range(1, 9)

ANONYMOUS = "anonymous"


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """`who`: a pattern of names of keys, or of addresses. Of the rates, `burst_s` seconds' worth may come at once."""

    who: str
    requests_per_s: float | None = None
    rows_per_s: float | None = None
    burst_s: float = 1.0
    in_flight: int | None = None
    rows_per_day: int | None = None

    @property
    def counts_rows(self) -> bool:
        """Whether the number of rows of a request is needed."""
        return self.rows_per_s is not None or self.rows_per_day is not None


class Refusal(msgspec.Struct, frozen=True):
    """Which `limit` (its key) of how much was met, how much of it is left, and in how many seconds there is more."""

    limit: str
    most: float
    left: float
    wait_s: float


def memory_bytes(processes: int) -> int:
    """How much memory so many processes share. Pages that nobody has written to cost nothing."""
    return processes * _SLOTS * _SLOT_BYTES


class Part:
    """What one process has written: a table of accounts, found by a hash of whose they are. Eight bytes each number."""

    def __init__(self, memory: memoryview) -> None:
        self.numbers = memory.cast("d")
        self.tags = memory.cast("Q")

    def find(self, tag: int) -> int | None:
        """Where the numbers of an account begin; None: this process has not met it."""
        tags = self.tags
        at = tag * _WIDTH % len(tags)
        for _ in range(_TRIED):
            seen = tags[at]
            if seen == tag:
                return at
            if not seen:
                return None
            at = (at + _WIDTH) % len(tags)
        return None

    def claim(self, tag: int, now_s: float) -> int:
        """The same, for who writes here: there is a place afterwards, if need be that of who asked longest ago."""
        found = self.find(tag)
        if found is not None:
            return found
        numbers, tags = self.numbers, self.tags
        places = [(tag + turn) * _WIDTH % len(tags) for turn in range(_TRIED)]
        free = next((at for at in places if not tags[at]), None)
        if free is None:
            free = min(places, key=lambda at: (numbers[at + _UNDER_WAY] > 0, numbers[at + _USED_S]))
        for field in range(_REQUESTS, _WIDTH):
            numbers[free + field] = 0.0
        numbers[free + _USED_S] = now_s
        tags[free] = tag
        return free

    def begin(self) -> None:
        """The process of this part is new: it has no request under way."""
        for at in range(0, len(self.tags), _WIDTH):
            if self.tags[at]:
                self.numbers[at + _UNDER_WAY] = 0.0


class _Bucket:
    """A bucket that fills with `rate` a second: what one process knows of it. `used` is what all have ever taken."""

    def __init__(self, rate: float, burst_s: float) -> None:
        self.rate = rate
        self.most = max(1.0, rate * burst_s)
        self._left = self.most
        self._seen: float | None = None
        self._at_s = 0.0

    def left(self, used: float, now_s: float, last: tuple[float, float] | None) -> float:
        """The level; below 0 after a request that was larger than the bucket. `last`: (when, the level then)."""
        if self._seen is None:
            self._seen, self._at_s = used, now_s
            if last is not None:
                self._at_s, self._left = last
        filled = min(self.most, self._left + max(0.0, now_s - self._at_s) * self.rate)
        self._left = filled - (used - self._seen)
        self._seen, self._at_s = used, max(now_s, self._at_s)
        return self._left

    def lacks_s(self, wanted: float, left: float) -> float:
        """In how many seconds `wanted` can be had; 0: now. More than a bucket holds can be had of a full one."""
        return max(0.0, (min(wanted, self.most) - left) / self.rate)


class Usage:
    """What one client uses. `name` is what metrics call it: clients without a key are one there."""

    def __init__(self, meter: Meter, tag: int, quota: Quota, name: str) -> None:
        self.quota = quota
        self.name = name
        self.tag = tag
        self._meter = meter
        self._requests = _Bucket(quota.requests_per_s, quota.burst_s) if quota.requests_per_s is not None else None
        self._rows = _Bucket(quota.rows_per_s, quota.burst_s) if quota.rows_per_s is not None else None

    def take(self, rows: int, now_s: float, wall_s: float) -> Use | Refusal:
        """Count a request of so many rows, unless a limit is met: then nothing is counted."""
        quota, day = self.quota, float(wall_s // _DAY_S)
        used = self._meter.used(self.tag, day)
        if quota.in_flight is not None and used.under_way >= quota.in_flight:
            return Refusal("in_flight", quota.in_flight, 0, 1.0)
        if quota.rows_per_day is not None and used.day_rows >= quota.rows_per_day:
            # While anything is left a request passes: its rows are guessed, and a guess is no reason to refuse it.
            return Refusal("rows_per_day", quota.rows_per_day, 0, _DAY_S - wall_s % _DAY_S)
        left_requests = left_rows = 0.0
        if self._requests is not None:
            left_requests = self._requests.left(used.requests, now_s, used.last_requests)
            if wait_s := self._requests.lacks_s(1.0, left_requests):
                return Refusal("requests_per_s", self._requests.rate, max(0.0, left_requests), wait_s)
        if self._rows is not None:
            left_rows = self._rows.left(used.rows, now_s, used.last_rows)
            if wait_s := self._rows.lacks_s(rows, left_rows):
                return Refusal("rows_per_s", self._rows.rate, max(0.0, left_rows), wait_s)
        self._meter.add(self.tag, now_s, day, requests=1.0, rows=rows, under_way=1.0)
        self._meter.leave(self.tag, now_s, left_requests - 1.0, left_rows - rows)
        return Use(self, rows, now_s, day)

    def settle(self, use: Use, rows: int) -> None:
        """Called by `Use.release`."""
        more = float(rows - use.rows) if rows else 0.0
        self._meter.add(self.tag, use.taken_s, use.day, rows=more, under_way=-1.0)


class Use:
    """What one request has taken from its quotas."""

    __slots__ = ("_account", "day", "rows", "taken_s")

    def __init__(self, account: Usage, rows: int, taken_s: float, day: float) -> None:
        self._account: Usage | None = account
        self.rows = rows
        self.taken_s = taken_s
        self.day = day

    def release(self, rows: int = 0) -> None:
        """The request is over; `rows` is how many it had if that is known (0: not). A second time changes nothing."""
        account, self._account = self._account, None
        if account is not None:
            account.settle(self, rows)


class Used:
    """What an account has used: ever, of one day, and now. `last_…`: when it was used last, and what was left then."""

    __slots__ = ("day_rows", "last_requests", "last_rows", "requests", "rows", "under_way")

    def __init__(self) -> None:
        self.requests = self.rows = self.day_rows = self.under_way = 0.0
        self.last_requests: tuple[float, float] | None = None
        self.last_rows: tuple[float, float] | None = None


class Meter:
    """The accounts of one process. `memory` has a part for each process; it writes the one of `index`."""

    def __init__(self, memory: memoryview, processes: int = 1, index: int = 0) -> None:
        size = len(memory) // processes
        self._parts = [Part(memory[size * i : size * (i + 1)]) for i in range(processes)]
        self._mine = self._parts[index]
        self._mine.begin()
        self._quotas: tuple[Quota, ...] = ()
        self._accounts: dict[str, Usage | None] = {}

    def configure(self, quotas: Iterable[Quota]) -> None:
        """Let these hold from now on: of each client the first that fits."""
        quotas = tuple(quotas)
        if quotas != self._quotas:
            self._quotas = quotas
            self._accounts.clear()

    def of_key(self, name: str) -> Usage | None:
        """The account of who has a key or another identity; None: nothing bounds it."""
        return self._account("key " + name, (name,), name)

    def of_address(self, address: str) -> Usage | None:
        """The account of a client that has shown nothing: each address has its own."""
        return self._account("address " + address, (ANONYMOUS, address), ANONYMOUS)

    def used(self, tag: int, day: float) -> Used:
        """What an account has used in all processes."""
        used = Used()
        last_s = -1.0
        for part in self._parts:
            at = part.find(tag)
            if at is None:
                continue
            numbers = part.numbers
            used.requests += numbers[at + _REQUESTS]
            used.rows += numbers[at + _ROWS]
            used.under_way += numbers[at + _UNDER_WAY]
            if numbers[at + _DAY] == day:
                used.day_rows += numbers[at + _DAY_ROWS]
            at_s = numbers[at + _USED_S]
            if at_s > last_s:
                last_s = at_s
                used.last_requests = at_s, numbers[at + _LEFT_REQUESTS]
                used.last_rows = at_s, numbers[at + _LEFT_ROWS]
        return used

    def add(
        self, tag: int, now_s: float, day: float, *, requests: float = 0.0, rows: float = 0.0, under_way: float = 0.0
    ) -> None:
        """Write down what a client has used here; `rows` count for `day`, unless another has begun meanwhile."""
        at, numbers = self._mine.claim(tag, now_s), self._mine.numbers
        numbers[at + _REQUESTS] += requests
        numbers[at + _ROWS] += rows
        if numbers[at + _DAY] < day:
            numbers[at + _DAY], numbers[at + _DAY_ROWS] = day, 0.0
        if numbers[at + _DAY] == day:
            numbers[at + _DAY_ROWS] += rows
        numbers[at + _UNDER_WAY] = max(0.0, numbers[at + _UNDER_WAY] + under_way)

    def leave(self, tag: int, now_s: float, requests: float, rows: float) -> None:
        """Write down what is left in the buckets of an account, for a process that meets it later."""
        at, numbers = self._mine.claim(tag, now_s), self._mine.numbers
        numbers[at + _USED_S], numbers[at + _LEFT_REQUESTS], numbers[at + _LEFT_ROWS] = now_s, requests, rows

    def _account(self, whose: str, told: Sequence[str], name: str) -> Usage | None:
        try:
            return self._accounts[whose]
        except KeyError:
            pass
        if len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
        quota = next((q for q in self._quotas if any(fnmatchcase(one, q.who) for one in told)), None)
        tag = int.from_bytes(blake2b(whose.encode(), digest_size=8).digest(), "little") or 1
        found = self._accounts[whose] = Usage(self, tag, quota, name) if quota is not None else None
        return found


def headers(refusal: Refusal) -> bytes:
    """The lines of `RateLimit-*` that tell a client what was met (draft-ietf-httpapi-ratelimit-headers, revision 6)."""
    most, window_s = refusal.most, _DAY_S if refusal.limit == "rows_per_day" else 1
    if most < 1:  # the lines have whole numbers: less than one a second is one in so many seconds
        most, window_s = 1, math.ceil(1 / most)
    return b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\nratelimit-policy: %d;w=%d\r\n" % (
        most,
        refusal.left,
        math.ceil(refusal.wait_s),
        most,
        window_s,
    )
