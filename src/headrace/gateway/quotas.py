"""Counts requests against the quotas of those who send them, before any pool has them."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from headrace.core.security.quotas import ANONYMOUS, Meter, Quota, Refusal, headers, memory_bytes
from headrace.gateway.pools.rows import estimate_rows

if TYPE_CHECKING:
    from headrace.core.security.quotas import Usage
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.pools.crossing import Crossing
    from headrace.gateway.pools.pool import Pool

_MOST_NAMES = 200
_SAYS = {
    "requests_per_s": "{most:g} requests a second",
    "rows_per_s": "{most:g} rows a second",
    "in_flight": "{most:g} requests at a time",
    "rows_per_day": "{most:g} rows a day (of UTC)",
}


class Quotas:
    """One process's side of them. `fd` is memory that all `processes` share, None: there is only this one."""

    def __init__(self, fd: int | None, processes: int, index: int) -> None:
        self._shared = fd, processes, index
        self._meter: Meter | None = None
        self._taken: dict[str, int] = {}
        self._refused: dict[tuple[str, str], int] = {}

    def configure(self, quotas: Sequence[Quota]) -> bool:
        """Let these hold from now on; returns whether there are any."""
        if self._meter is None and quotas:
            fd, processes, index = self._shared
            memory = mmap.mmap(-1 if fd is None else fd, memory_bytes(processes))
            self._meter = Meter(memoryview(memory), processes, index)
        if self._meter is not None:
            self._meter.configure(quotas)
        return bool(quotas)

    def entrances(
        self, entrances: Mapping[str, Pool | Crossing], serving: Mapping[str, Pool]
    ) -> dict[str, MeteredEntrance]:
        """Those through which requests are counted."""
        return {model: MeteredEntrance(self, entrance, serving[model]) for model, entrance in entrances.items()}

    def take(self, exchange: Exchange, now_s: float) -> Refusal | None:
        """Count a request; None: it may pass, and is counted until its charge is released."""
        account = self._account(exchange)
        if account is None:
            return None
        rows = estimate_rows(exchange.head, exchange.body) if account.quota.counts_rows else 0
        taken = account.take(rows, now_s, time.time())
        name = account.name if account.name in self._taken or len(self._taken) < _MOST_NAMES else "others"
        if isinstance(taken, Refusal):
            key = name, taken.limit
            self._refused[key] = self._refused.get(key, 0) + 1
            return taken
        self._taken[name] = self._taken.get(name, 0) + 1
        exchange.charge = taken
        return None

    def samples(self) -> Iterator[Sample]:
        """What was counted, by the name of the key; all who have none are one."""
        for name, count in self._taken.items():
            yield "headrace_quota_requests_total", (("key", name),), count
        for (name, limit), count in self._refused.items():
            yield "headrace_quota_refused_total", (("key", name), ("limit", limit)), count

    def _account(self, exchange: Exchange) -> Usage | None:
        who, connection, meter = exchange.request.scope, exchange.connection, self._meter
        if connection is None or meter is None:
            return None
        if who is not None and who.name not in {"", ANONYMOUS}:
            return meter.of_key(who.name)
        return meter.of_address(connection.peer().decode("latin-1"))


class MeteredEntrance:
    """Stands where a pool would, before `inner`. `pool` is the one that a refusal is counted with."""

    __slots__ = ("inner", "pool", "quotas")

    def __init__(self, quotas: Quotas, inner: Pool | Crossing, pool: Pool) -> None:
        self.quotas = quotas
        self.inner = inner
        self.pool = pool

    @property
    def queues(self) -> bool:
        """Whether requests are taken at all."""
        return self.inner.queues

    def submit(self, exchange: Exchange, now_s: float) -> None:
        """Let a request pass, or answer it with 429."""
        refusal = self.quotas.take(exchange, now_s)
        if refusal is None:
            self.inner.submit(exchange, now_s)
            return
        wait_s = math.ceil(refusal.wait_s)
        limit = _SAYS[refusal.limit].format(most=refusal.most)
        message = f"Your quota of {limit} is used up; try again in {wait_s} s."
        self.pool.version.count_answer(429, now_s - exchange.arrived_s)
        exchange.fail("REQUEST_LIMIT_EXCEEDED", message, now_s, retry_after_s=wait_s, extra=headers(refusal))
