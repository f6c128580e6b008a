"""What the pools have to do whose number of replicas follows the load: read off what is counted anyway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.core.protocol.messages import PoolLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from headrace.core.protocol import messages
    from headrace.gateway.pools.pool import Pool


class LoadReports:
    """Reports each pool's load while it has any, and once that it has none."""

    def __init__(self, report: Callable[[messages.FromGateway], None]) -> None:
        self._report = report
        self._read: dict[str, tuple[float, float, int, float]] = {}
        self._told: set[str] = set()

    def tell(self, pools: Collection[Pool], now_s: float) -> None:
        """Report what there is to do since it was called last."""
        for pool in pools:
            config = pool.version.config
            if not config.follows:
                continue
            load = self._load(pool, now_s)
            if load.asked or load.busy:
                self._told.add(config.key)
            elif config.key in self._told:
                self._told.discard(config.key)
            else:
                continue
            self._report(load)
        if len(self._read) > len(pools):
            here = {pool.version.config.key for pool in pools}
            self._read = {key: read for key, read in self._read.items() if key in here}
            self._told &= here

    def _load(self, pool: Pool, now_s: float) -> PoolLoad:
        key, core, counters = pool.version.config.key, pool.core, pool.version.counters
        spent_s = counters.parse.total + counters.predict.total + counters.serialise.total
        waited_s, answered = counters.wait.total, sum(counters.wait.buckets)
        was_s, was_spent_s, was_answered, was_waited_s = self._read.get(key, (now_s, spent_s, answered, waited_s))
        self._read[key] = now_s, spent_s, answered, waited_s
        frames = [frame for frame in core.frames() if not frame.works[0].probe]
        # A call that lasts is in no counter before it ends.
        lasting = {frame.worker for frame in frames if frame.sent_s <= was_s < now_s}
        every_s = (now_s - was_s) * core.workers.concurrency
        computed = (spent_s - was_spent_s) / every_s if every_s else 0.0
        counted = answered - was_answered
        mean_s = (waited_s - was_waited_s) / counted if counted else 0.0
        return PoolLoad(
            gateway=os.getpid(),
            pool=key,
            asked=core.lanes.count + sum(len(frame.works) for frame in frames) + len(core.parking),
            wait_s=max(mean_s, core.lanes.oldest_wait_s(now_s)),
            busy=max(computed, float(len(lasting))),
        )
