"""The second level of the prediction cache: a Redis that several machines share, which may be slow, dead or full.

What a request pays for it at most is `WAIT_S`; after that it is a miss. Requests that miss in the same moment are
looked up with one MGET, one of which is in the air at a time: those behind it wait for no longer either, counted from
when they asked. After three failures in a row nobody asks until a probe, which no request waits for, was answered in
time. Good answers are written behind the request's back, from a bounded list; what does not fit is not written.

Connections: one that reads, one that writes. Needs the package ``redis`` (the extra of that name).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from headrace.core.serving import cache_entries as entries
from headrace.core.serving.breaker import Breaker

if TYPE_CHECKING:
    from headrace.gateway.counters import PoolCounters
    from headrace_worker.wire import Answer

Tell = Callable[["Answer | None"], None]

WAIT_S = 0.005
_MOST_LOOKUPS = 1024
_MOST_WRITES = 1024
_MOST_WRITE_BYTES = 16 * 1024 * 1024
_MOST_ENTRY_BYTES = 64 * 1024
_LOOKUPS_AT_ONCE = 256
_WRITES_AT_ONCE = 128
_PATIENCE_S = 1.0
"""How long a write or a probe may take: nobody waits for it, but it must not be for ever."""


class SharedCache:
    """Looks entries up and writes them, for one pool. `spawn` runs a task that the gateway holds."""

    def __init__(
        self,
        url: str,
        identity: str,
        ttl_s: float | None,
        counters: PoolCounters,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an optional package, and 0.2 s of everybody's start
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        self.url = url
        self.identity = identity
        self.ttl_s = ttl_s
        self._counters = counters
        self._spawn = spawn
        self._breaker = Breaker()
        self._wanted: list[tuple[bytes, Tell, float]] = []
        self._writes: deque[tuple[bytes, bytes]] = deque()
        self._write_bytes = 0
        self._looking = self._writing = self._probing = self._closed = False

        def client() -> Any:
            return Redis.from_url(
                url, max_connections=1, socket_connect_timeout=_PATIENCE_S, retry=Retry(NoBackoff(), 0), protocol=2
            )

        self._reader = client()
        self._writer = client()
        self._probe()

    def __repr__(self) -> str:
        return f"<SharedCache {self._breaker!r} lookups={len(self._wanted)} writes={len(self._writes)}>"

    @property
    def usable(self) -> bool:
        """Whether it is asked at present."""
        return self._breaker.closed

    def look(self, head: bytes, body: bytes, tell: Tell) -> bool:
        """Look an entry up and `tell` what was found, within `WAIT_S`; False: not now, and `tell` is not called."""
        if not self._breaker.closed or self._closed or len(self._wanted) >= _MOST_LOOKUPS:
            self._counters.shared("skipped")
            return False
        self._wanted.append((entries.key(self.identity, head, body), tell, monotonic() + WAIT_S))
        if not self._looking:
            self._looking = True
            self._spawn(self._look_up())
        return True

    def keep(self, head: bytes, body: bytes, answer: Answer) -> None:
        """Write an answer, some time soon, or not at all."""
        if not self._breaker.closed or self._closed:
            return
        entry = entries.encode(answer)
        full = len(self._writes) >= _MOST_WRITES or self._write_bytes + len(entry) > _MOST_WRITE_BYTES
        if full or len(entry) > _MOST_ENTRY_BYTES:
            self._counters.shared("unwritten")
            return
        self._writes.append((entries.key(self.identity, head, body), entry))
        self._write_bytes += len(entry)
        if not self._writing:
            self._writing = True
            self._spawn(self._write())

    def close(self) -> None:
        """Ask and write nothing more; those who wait are told 'not found'."""
        self._closed = True
        self._writes.clear()
        self._spawn(self._disconnect())

    async def _disconnect(self) -> None:
        for client in (self._reader, self._writer):
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await client.aclose()
            except Exception:  # noqa: BLE001, S110 - it is given up anyway
                pass

    async def _look_up(self) -> None:
        try:
            while self._wanted:
                batch, self._wanted = self._wanted[:_LOOKUPS_AT_ONCE], self._wanted[_LOOKUPS_AT_ONCE:]
                await self._look_up_batch(batch)
        finally:
            self._looking = False

    async def _look_up_batch(self, batch: list[tuple[bytes, Tell, float]]) -> None:
        answers: list[Answer | None] = [None] * len(batch)
        try:
            # The first has waited longest.
            async with asyncio.timeout(batch[0][2] - monotonic()):
                found = await self._reader.mget([key for key, _, _ in batch])
            answers = _answers(found, len(batch))
            self._breaker.worked()
            hits = sum(answer is not None for answer in answers)
            self._counters.shared("hit", hits)
            self._counters.shared("miss", len(batch) - hits)
        except Exception:  # noqa: BLE001 - whatever a broken Redis or its client raises or returns: a miss
            self._counters.shared("failed", len(batch))
            self._failed()
        finally:
            for (_, tell, _), answer in zip(batch, answers, strict=True):
                tell(answer)

    async def _write(self) -> None:
        try:
            while self._writes and self._breaker.closed:
                pipe = self._writer.pipeline(transaction=False)
                count = min(len(self._writes), _WRITES_AT_ONCE)
                for _ in range(count):
                    key, entry = self._writes.popleft()
                    self._write_bytes -= len(entry)
                    pipe.set(key, entry, px=None if self.ttl_s is None else max(1, int(self.ttl_s * 1000)))
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        await pipe.execute(raise_on_error=True)
                    self._counters.shared("written", count)
                except Exception:  # noqa: BLE001 - as above: nobody waits for it
                    self._counters.shared("unwritten", count)
                    self._failed()
            if not self._breaker.closed:
                self._counters.shared("unwritten", len(self._writes))
                self._writes.clear()
                self._write_bytes = 0
        finally:
            self._writing = False

    def _failed(self) -> None:
        if self._breaker.failed():
            self._probe()

    def _probe(self) -> None:
        if not self._probing:
            self._probing = True
            self._spawn(self._probe_until_well())

    async def _probe_until_well(self) -> None:
        """Connect, and see that it answers as fast as a request needs it."""
        try:
            while not self._closed:
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        await self._reader.ping()
                    async with asyncio.timeout(WAIT_S):
                        await self._reader.ping()
                    self._breaker.worked()
                except Exception:  # noqa: BLE001 - not yet
                    await asyncio.sleep(self._breaker.next_probe_s())
                else:
                    return
        finally:
            self._probing = False


def _answers(found: Any, count: int) -> list[Answer | None]:
    """What MGET has found; raises ValueError for what is no answer to it, whoever it was that gave it."""
    if not isinstance(found, list) or len(found) != count:
        raise ValueError("not an answer to MGET")
    if not all(one is None or isinstance(one, bytes) for one in found):
        raise ValueError("not an answer to MGET, or errors in it")
    return [None if one is None else entries.decode(one) for one in found]
