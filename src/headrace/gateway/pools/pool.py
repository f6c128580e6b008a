"""The workers of one served version, and the requests that they answer.

A pool queues from the moment that the supervisor has named a worker for it, be it connected or not: a replacement is
on its way, and requests wait for it until their deadline. A pool that never had a worker answers 503 at once.
"""

from __future__ import annotations

from os import getpid
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from headrace.core.protocol import messages
from headrace.core.serving.admission import ClientShares
from headrace.core.serving.batching import DONE, SENT
from headrace.core.serving.dispatching import Dispatcher
from headrace.gateway.exchange import Exchange, Job, Source
from headrace.gateway.pools.channel import Channel
from headrace.gateway.pools.crew import Crew
from headrace.gateway.pools.feeder import Feeder
from headrace.gateway.pools.flights import CacheDesk, Flight
from headrace.gateway.pools.notes import NO_NOTES, Notes, read_notes
from headrace.gateway.pools.rows import estimate_rows
from headrace.gateway.pools.streams import Streams
from headrace.gateway.version import ServedVersion
from headrace_worker.wire import FLAG_MODEL_ERROR

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence

    from headrace.core.serving.assignments import Frame
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.counters import PoolCounters
    from headrace.gateway.state import GatewayState
    from headrace_worker.wire import Answers


class Home(Protocol):
    """Who has the pools of all versions."""

    def rehome(self, pool: Pool, jobs: list[Job]) -> None:
        """The workers of a retired pool are gone, and these still wait."""

    def drained(self, pool: Pool) -> None:
        """Nothing of a retired pool is left."""


class Pool:
    """See the module's docstring. `queues`: it takes requests."""

    def __init__(
        self, state: GatewayState, home: Home, config: messages.Pool, route: messages.Route, counters: PoolCounters
    ) -> None:
        self.version = ServedVersion(config, route, counters, state.report)
        self.core: Dispatcher[Job] = Dispatcher(route, mergeable=config.mergeable, now_s=monotonic())
        self.crew = Crew(state, self._make_channel, self._joined)
        self._feeder = Feeder(state, self.core, self.crew, self)
        self._streams = Streams(state, self.version, self._feeder, self.settle)
        self._desk: CacheDesk | None = None
        self._looking: set[Flight] = set()
        self._shares = ClientShares()
        self.queues = False
        self._state = state
        self._home = home
        self._found_unmergeable = False
        self._retired = False
        self._called = False

    def __repr__(self) -> str:
        return f"<Pool {self.version.config.key} {self.core!r}>"

    # Requests.

    def submit(self, exchange: Exchange, now_s: float) -> None:
        """Take a request: it is answered in the end, by a worker, the cache, or with an error."""
        exchange.pool = self
        request = exchange.request
        route = self.version.route
        timeout_s = route.timeout_s
        limit_s = request.timeout_s
        exchange.deadline_s = now_s + (timeout_s if limit_s is None or limit_s > timeout_s else limit_s)
        if route.queue.max_rows_per_client is not None and not self._charge(exchange, now_s):
            return
        job: Job = exchange
        if request.stream:
            if not self._streams.admit(exchange, now_s):
                return
            exchange.stream = exchange.solo = True
        elif self._desk is not None and not request.bypass_cache:
            found = self._desk.take(exchange, now_s)
            if found is None:
                return
            job = found
        if not self._feeder.enqueue(job):
            self._turn_away(job, now_s)

    def adopt(self, jobs: list[Job]) -> None:
        """Take over requests that another pool could not finish."""
        for job in jobs:
            job.move(self)
            self._feeder.enqueue(job, admitted=True)
        self._feeder.flush()

    def take_copy(self, job: Job) -> bool:
        """Take a shadow's copy, which goes past the cache; False (and no trace of it) where the queue is full."""
        if not self._feeder.enqueue(job):
            return False
        self._feeder.flush()
        return True

    def give_up(self, exchange: Exchange) -> None:
        """The client is gone."""
        self.version.counters.dropped += 1
        if exchange.charge is not None:
            exchange.charge.release()
        if exchange.flight is not None:
            flight: Flight = exchange.flight  # type: ignore[assignment] # nothing else is waited for together
            if exchange in flight.waiting and not flight.leave(exchange):
                self._ground([flight])
            return
        begun = exchange.reply is not None and exchange.state == SENT
        self.core.give_up(exchange)
        if begun:
            self._streams.leave(exchange)
        self.settle()

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for its workers."""
        return self.core.lanes.rows

    def held_by_probes(self) -> bool:
        """Whether every worker is at work, and none of them for a client."""
        frames = self.core.frames()
        return len(frames) >= len(self.crew) > 0 and all(frame.works[0].probe for frame in frames)

    def gauges(self) -> Iterator[Sample]:
        """What there is now, labelled."""
        core, desk, config = self.core, self._desk, self.version.config
        labels = (("model", config.model), ("version", config.label))
        yield "headrace_queued_requests", labels, core.lanes.count
        yield "headrace_queued_rows", labels, core.lanes.rows
        yield "headrace_queued_bytes", labels, core.lanes.size_bytes
        yield "headrace_in_flight_requests", labels, core.in_flight
        yield "headrace_concurrency", labels, core.workers.concurrency
        for state, count in self._streams.states():
            yield "headrace_streams_open", (*labels, ("state", state)), count
        if desk is not None:
            yield "headrace_cache_entries", labels, desk.entries
            yield "headrace_cache_bytes", labels, desk.size_bytes

    # What the supervisor wants.

    def configure(self, config: messages.Pool, route: messages.Route | None) -> list[asyncio.Task[None]]:
        """Make the pool what the newest table says. Returns the connections that are being made."""
        version, core, desk = self.version, self.core, self._desk
        version.configure(config, route or version.route)
        core.mergeable = config.mergeable and not self._found_unmergeable
        core.calls.alone |= config.alone
        if route is not None:
            core.configure(route)
            if route.cache is None:
                if desk is not None:
                    desk.unshare()
                    self._desk = None
            elif desk is not None:
                desk.configure(route.cache)
            else:
                self._desk = CacheDesk(route.cache, version, self._state.spawn, self._looking, self._looked_up)
        elif desk is not None:
            desk.clear()  # kept warm, but not asked: its memory is the serving version's now
        there = bool(config.workers) or config.asleep
        self.queues = there or (self.queues and not config.trouble)
        self._called = False
        if config.trouble and not there:
            self._not_woken(config.trouble)
        connecting, leaving = self.crew.want(config.workers)
        for worker in leaving:
            self._feeder.retire(worker)
        return connecting

    def retire(self) -> None:
        """Nothing new comes; finish, then let the workers go and report `Drained`."""
        self._retired = True
        if self._desk is not None:
            self._desk.clear()
            self._desk.unshare()
        self.settle()

    def settle(self) -> None:
        """See whether a retired pool has finished, or is unable to."""
        if not self._retired:
            return
        if not self.crew and self.core.lanes.count:
            self._home.rehome(self, self.core.evict())
        if self.core.empty and not self._looking:
            for worker in self.crew.workers():
                self._feeder.retire(worker)
            self._home.drained(self)

    def close(self) -> None:
        """The gateway or this pool ends."""
        self._feeder.close()
        self.version.failures.close()
        self.crew.close()

    # What channels report.

    def answered(self, channel: Channel, number: int, decoded: Answers) -> None:
        """A worker has answered its frame."""
        core = self.core
        frame = core.workers.find(channel.worker, number)
        if not self.crew.holds(channel):
            return
        if frame is None or len(decoded.answers) != len(frame.works):
            self.crew.distrust(channel, "it answered what it was not asked")
            return
        now_s = monotonic()
        timing = decoded.timing
        is_probe = frame.works[0].probe  # nobody's traffic: counted nowhere
        if not is_probe:
            core.calls.answered(frame, timing, others_wait=core.lanes.count > 0)
            if core.judge(frame, failed=any(answer.flags & FLAG_MODEL_ERROR for answer in decoded.answers)):
                self._state.report(messages.Hazard(self.version.config.key, {messages.FAILS_BESIDE: 1}))
        self._feeder.done(frame, now_s)
        source = Source(self.version, number, len(frame.works), timing)
        if not is_probe:
            self._deliver(frame, decoded, source, now_s)
        elif frame.works[0].state == DONE:
            frame.works[0].answer(decoded.answers[0], source, now_s)
        said = self._heed(decoded.notes) if decoded.notes else NO_NOTES
        self.version.failures.settle(decoded.answers, said.failures)
        self.settle()

    def waits(self, channel: Channel, number: int, spent: tuple[int, int, int]) -> None:
        """A call that is under way mostly waits: others may be let in."""
        if self.crew.holds(channel) and self.core.workers.find(channel.worker, number) is not None:
            self.core.calls.waits(*spent)
            self._feeder.flush()

    def lost(self, channel: Channel) -> None:
        """The connection to a worker has ended."""
        if not self.crew.holds(channel):
            return
        self.crew.forget(channel)
        worker = channel.worker
        now_s = monotonic()
        self._streams.lost(worker)
        held, failed = self.core.lost(worker)
        counters, model = self.version.counters, self.version.config.model
        counters.lost += 1
        counters.retried += held - len(failed)
        self._state.report(messages.WorkerLost(worker, held))
        message = f"Two workers of model '{model}' ended while they had this request; it is not tried again."
        for job in failed:
            job.fail_for(self.version, "WORKER_DIED", message, now_s)
        self._feeder.flush()
        self.settle()

    # What the feeder reports.

    def resume(self, frame: Frame[Job]) -> None:
        """The worker of a parked stream has time for it."""
        self._streams.resume(frame)

    def too_late(self, jobs: Sequence[Job], now_s: float) -> None:
        """The deadlines of these have passed."""
        self.version.counters.deadlines += sum(len(job.asked_by()) for job in jobs)
        for job in jobs:
            waited_s = now_s - job.arrived_s
            message = f"Request processing time exceeded limit: no answer within {waited_s:.3f} s."
            job.fail_for(self.version, "DEADLINE_EXCEEDED", message, now_s)

    def hung(self) -> None:
        """A worker was silent for too long."""
        self.version.counters.hung += 1

    def call(self) -> None:
        """Something waits, and there is no worker: have the supervisor know, once, where it may be asleep."""
        config = self.version.config
        if config.asleep and not self._called:
            self._called = True
            asked = self.core.lanes.count
            self._state.report(messages.PoolLoad(gateway=getpid(), pool=config.key, asked=asked, wait_s=0.0, busy=0.0))

    def swept(self, now_s: float) -> None:
        """Look for what is late beside the queue."""
        if self.core.lanes.count and not self.crew:
            self.call()
        if self._desk is not None:
            self.too_late(self._desk.late(now_s), now_s)
            self._ground(self._desk.empty_flights())
        self._streams.expire(now_s)
        self.settle()

    # Inside.

    def _make_channel(self, worker: str) -> Channel:
        return Channel(worker, self, self._streams, self.crew.distrust, self._state.spans)

    def _joined(self, worker: str) -> None:
        """A worker is connected."""
        self.core.add_worker(worker)
        self._feeder.flush()

    def _not_woken(self, trouble: str) -> None:
        """Fail all that wait: no worker can be started for them."""
        now_s = monotonic()
        message = f"Model '{self.version.config.model}' could not be woken: {trouble}; it is tried again."
        for job in self.core.evict():
            job.fail_for(self.version, "TEMPORARILY_UNAVAILABLE", message, now_s, retry_after_s=1)

    def _turn_away(self, job: Job, now_s: float) -> None:
        """There is no room in the queue."""
        core, version = self.core, self.version
        version.counters.shed += len(job.asked_by())
        retry_after_s = core.admission.retry_after_s(core.lanes.rows)
        message = f"Model '{version.config.model}' has as much waiting as it may; try again in {retry_after_s} s."
        job.fail_for(version, "OVERLOADED", message, now_s, retry_after_s=retry_after_s)

    def _charge(self, exchange: Exchange, now_s: float) -> bool:
        """Count a request against its client's share; False: it was refused."""
        connection, options = exchange.connection, self.version.route.queue
        limit = options.max_rows_per_client
        if connection is None or limit is None:
            return True
        name = options.client_header
        sent = exchange.request.watched.get(name.encode("ascii")) if name is not None else None
        client = b"header " + sent if sent is not None else connection.peer()
        rows = estimate_rows(exchange.head, exchange.body)
        charge = self._shares.take(client, rows, limit, also=exchange.charge)
        if charge is not None:
            exchange.charge = charge
            return True
        waiting_rows = min(self._shares.rows[client], self.core.lanes.rows)
        retry_after_s = self.core.admission.retry_after_s(waiting_rows)
        message = f"This client has {limit} rows waiting already, as many as one may; try again in {retry_after_s} s."
        exchange.fail_for(self.version, "REQUEST_LIMIT_EXCEEDED", message, now_s, retry_after_s=retry_after_s)
        return False

    def _looked_up(self, flight: Flight, now_s: float, *, missed: bool) -> None:
        """The second level of the cache has said what it has: a worker must do what it `missed`."""
        if missed and not self._feeder.enqueue(flight):
            self._turn_away(flight, now_s)
        self.settle()

    def _ground(self, flights: Sequence[Flight]) -> None:
        """Nobody waits for these flights any more."""
        for flight in flights:
            self.core.give_up(flight)
            flight.discard()
        self.settle()

    def _deliver(self, frame: Frame[Job], decoded: Answers, source: Source, now_s: float) -> None:
        counters = self.version.counters
        statuses = counters.statuses
        arrived_s: list[float] = []
        batch_rows = rows = 0
        for job, answer in zip(frame.works, decoded.answers, strict=True):
            batch_rows += answer.rows
            if job.state != DONE:
                continue
            rows += answer.rows
            if job.counted:
                status = answer.status
                statuses[status] = statuses.get(status, 0) + 1
                if answer.flags & FLAG_MODEL_ERROR:
                    counters.model_failed(status)
                arrived_s.append(job.arrived_s)
            job.answer(answer, source, now_s)
        counters.latency.observe_since(now_s, arrived_s)
        counters.wait.observe_since(frame.sent_s, arrived_s)
        counters.rows += rows
        counters.batch(decoded.timing, len(frame.works), batch_rows)

    def _heed(self, notes: bytes) -> Notes:
        """Heed what a worker says of a frame: hazards that it met, and that it will not merge requests."""
        said = read_notes(notes)
        if not said.mergeable:
            self._found_unmergeable = True
            self.core.mergeable = False
        if said.hazards:
            self._state.report(messages.Hazard(self.version.config.key, said.hazards))
        return said
