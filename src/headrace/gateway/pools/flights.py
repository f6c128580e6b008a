"""Prediction cache and single flight: identical requests are computed once, and good answers are kept.

A request that misses starts a `Flight`, which is what the workers see; identical requests that come while it is in the
air join it. Each of them has its own deadline and its own client, who may leave without hurting the others: a flight is
given up when the last of them is gone. All of them get its answer, also an error; only status 200 is kept.

Keys are exact: the head and the body themselves, or for longer bodies their BLAKE2b digest and length. Bodies above
`_MAX_BODY_BYTES` go past the cache, for digesting them would hold up everybody else.

A second level, shared by machines (`gateway.pools.shared`), is asked where a flight starts and told where it lands.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from headrace.core.serving.batching import GONE
from headrace.core.serving.caching import Cache
from headrace.gateway.exchange import Exchange, Job, Owner, Source
from headrace.gateway.pools.shared import SharedCache
from headrace_worker.wire import FLAG_MODEL_ERROR, SPOKEN

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from headrace.core.protocol.messages import CacheOptions
    from headrace.gateway.version import ServedVersion
    from headrace_worker.wire import Answer

Key = tuple[bytes, bytes] | tuple[bytes, bytes, int]

_EXACT_BYTES = 256
_MAX_BODY_BYTES = 1 << 20

HIT = b"hit"
MISS = b"miss"
COALESCED = b"coalesced"


class Flight(Job):
    """One computation and those who wait for it, the first of whom started it."""

    __slots__ = ("_desk", "key", "soonest_s", "waiting")

    def __init__(self, desk: CacheDesk, key: Key, first: Exchange) -> None:
        super().__init__(
            first.head, first.body, rows=first.rows, arrived_s=first.arrived_s, deadline_s=first.deadline_s
        )
        self._desk = desk
        self.key = key
        self.waiting = [first]
        self.soonest_s = first.deadline_s
        first.flight = self

    def join(self, exchange: Exchange) -> None:
        """Wait for this flight too."""
        exchange.flight = self
        self.waiting.append(exchange)
        self.soonest_s = min(self.soonest_s, exchange.deadline_s)
        # The computation is worth as long as anyone waits for it.
        self.deadline_s = max(self.deadline_s, exchange.deadline_s)

    def leave(self, exchange: Exchange) -> bool:
        """One of those who wait is gone; False if it was the last."""
        self.waiting.remove(exchange)
        return bool(self.waiting)

    def asked_by(self) -> list[Exchange]:
        """All who wait."""
        return self.waiting

    def late(self, now_s: float) -> list[Exchange]:
        """Take out those whose deadline has passed."""
        if now_s < self.soonest_s:
            return []
        late = [e for e in self.waiting if e.deadline_s <= now_s]
        self.waiting = [e for e in self.waiting if e.deadline_s > now_s]
        self.soonest_s = min((e.deadline_s for e in self.waiting), default=self.deadline_s)
        return late

    def answer(self, answer: Answer, source: Source, now_s: float, how: bytes = MISS) -> None:
        """Give everybody the answer, and keep it if it is good. `how` HIT: it is the second level's."""
        self._desk.landed(self, answer, now_s, computed=how is MISS)
        for exchange in self.waiting:
            if how is COALESCED:
                source.version.count_answer(answer.status, now_s - exchange.arrived_s)
                if answer.flags & FLAG_MODEL_ERROR:
                    source.version.counters.model_failed(answer.status)
            exchange.answer(answer, source, now_s, how)
            how = COALESCED

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        """Give everybody the error."""
        self._desk.crashed(self)
        for exchange in self.waiting:
            exchange.fail(code, message, now_s, retry_after_s=retry_after_s)

    def discard(self) -> None:
        """Nobody waits for it any more: there is no one to answer."""
        self._desk.crashed(self)

    def move(self, owner: Owner) -> None:
        """Another version computes it: its answer is good for those who wait, and for nobody else."""
        self._desk.crashed(self)
        for exchange in self.waiting:
            exchange.pool = owner


class LookedUp(Protocol):
    """Is told when the second level has said what it has of a flight; `missed`: a worker must compute it."""

    def __call__(self, flight: Flight, now_s: float, *, missed: bool) -> None:
        """See the class's docstring."""


class CacheDesk:
    """The cache of one version, its second level and the flights in the air: the one owner of all three.

    `spawn` runs a task that the gateway holds. `looking` has the flights that wait for the second level, which outlive
    the desk where the cache is turned off meanwhile.
    """

    __slots__ = ("_cache", "_flights", "_looked_up", "_looking", "_source", "_spawn", "_version", "shared")

    def __init__(
        self,
        options: CacheOptions,
        version: ServedVersion,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        looking: set[Flight],
        looked_up: LookedUp,
    ) -> None:
        self._cache: Cache[Key, Answer] = Cache(options.max_bytes, options.ttl_s)
        self._flights: dict[Key, Flight] = {}
        self._version = version
        self._source = Source(version)
        self._spawn = spawn
        self._looking = looking
        self._looked_up = looked_up
        self.shared: SharedCache | None = None
        self.configure(options)

    @property
    def size_bytes(self) -> int:
        """How much the kept answers hold."""
        return self._cache.size_bytes

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return len(self._cache)

    def configure(self, options: CacheOptions) -> None:
        """Have the bounds and the second level that `options` name; without an identity there is no second level."""
        identity = self._version.config.identity
        self._cache.resize(options.max_bytes, options.ttl_s)
        url = options.url if identity else None
        if self.shared is not None and (self.shared.url, self.shared.identity) != (url, identity):
            self.unshare()
        if url is None:
            return
        if self.shared is None:
            self.shared = SharedCache(url, identity, options.ttl_s, self._version.counters, self._spawn)
        self.shared.ttl_s = options.ttl_s

    def unshare(self) -> None:
        """Let go of the second level."""
        if self.shared is not None:
            self.shared.close()
            self.shared = None

    def take(self, exchange: Exchange, now_s: float) -> Job | None:
        """Answer from the cache or join a flight (None), or return what a worker must do."""
        key = _key(exchange)
        if key is None:
            return exchange
        counters = self._version.counters
        kept = self._cache.get(key, now_s)
        if kept is not None:
            counters.cache_hits += 1
            self._version.count_answer(kept.status, 0.0)
            exchange.answer(kept, self._source, now_s, HIT)
            return None
        flight = self._flights.get(key)
        if flight is not None:
            counters.cache_coalesced += 1
            flight.join(exchange)
            return None
        flight = self._flights[key] = Flight(self, key, exchange)
        # Answers of other protocols say what the version is called: another machine may call the same one otherwise.
        shared = self.shared if not flight.head.startswith(SPOKEN) else None
        if shared is not None and shared.look(flight.head, flight.body, partial(self._found, flight)):
            self._looking.add(flight)
            return None
        counters.cache_misses += 1
        return flight

    def landed(self, flight: Flight, answer: Answer, now_s: float, *, computed: bool) -> None:
        """A flight has its answer; `computed` just now, so that the second level should have it too."""
        if self._flights.get(flight.key) is not flight:
            return
        del self._flights[flight.key]
        if answer.status == 200:
            size_bytes = sum(len(part) for part in flight.key[:2]) + len(answer.body) + len(answer.content_type)
            self._cache.put(flight.key, answer, size_bytes, now_s)
            if computed and self.shared is not None and not answer.flags and not flight.head.startswith(SPOKEN):
                self.shared.keep(flight.head, flight.body, answer)

    def crashed(self, flight: Flight) -> None:
        """A flight ends without an answer to keep."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def late(self, now_s: float) -> list[Exchange]:
        """Take out everybody whose deadline has passed."""
        return [exchange for flight in self._flights.values() for exchange in flight.late(now_s)]

    def empty_flights(self) -> list[Flight]:
        """Return the flights that nobody waits for any more."""
        return [flight for flight in self._flights.values() if not flight.waiting]

    def clear(self) -> None:
        """Let go of what is kept; flights go on."""
        self._cache.clear()

    def _found(self, flight: Flight, kept: Answer | None) -> None:
        """The second level has said what it has."""
        self._looking.discard(flight)
        now_s = monotonic()
        missed = False
        if flight.state == GONE:
            pass  # nobody waits for it any more
        elif kept is not None:
            self._version.counters.cache_hits += 1
            self._version.count_answer(kept.status, now_s - flight.arrived_s)
            flight.answer(kept, self._source, now_s, HIT)
        else:
            self._version.counters.cache_misses += 1
            missed = True
        self._looked_up(flight, now_s, missed=missed)


def _key(exchange: Exchange) -> Key | None:
    """What makes a request the same as another; None if this one goes past the cache."""
    body = exchange.body
    size = len(body)
    if size <= _EXACT_BYTES:
        return exchange.head, body
    if size > _MAX_BODY_BYTES:
        return None
    return exchange.head, blake2b(body, digest_size=32).digest(), size
