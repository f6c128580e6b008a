"""The workers of one served version: carries out what its `Dispatcher` decides.

A pool queues from the moment that the supervisor has named a worker for it, be it connected or not: a replacement is
on its way, and requests wait for it until their deadline. A pool that never had a worker answers 503 at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import msgspec

from headrace.core.escaping import header_bytes, header_value
from headrace.core.protocol import messages
from headrace.core.serving.admission import ClientShares
from headrace.core.serving.batching import DONE, GONE, NEVER_S, SENT
from headrace.core.serving.dispatching import Dispatcher
from headrace.core.serving.gathering import Gathering
from headrace.gateway import answers
from headrace.gateway.crew import Crew
from headrace.gateway.failures import FailureReports, Raised
from headrace.gateway.flights import HIT, CacheDesk, Flight
from headrace.gateway.rows import estimate_rows
from headrace.gateway.streams import Streams
from headrace_worker.wire import FLAG_MODEL_ERROR

if TYPE_CHECKING:
    from headrace.core.serving.assignments import Frame
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.channel import Channel
    from headrace.gateway.exchange import Exchange, Job
    from headrace.gateway.server import Gateway
    from headrace_worker.wire import Answer, Answers, Timing

_SWEEP_S = 0.05


class _Notes(msgspec.Struct):
    hazards: dict[Annotated[str, msgspec.Meta(max_length=100)], Annotated[int, msgspec.Meta(ge=0, le=2**32)]] = {}
    mergeable: bool = True
    failures: list[Raised] = []


_NO_NOTES = _Notes()
_notes = msgspec.json.Decoder(_Notes)


class Pool:
    """See the module's docstring. `config` and `route` are the newest that the supervisor said of it."""

    def __init__(self, gateway: Gateway, config: messages.Pool, route: messages.Route) -> None:
        self.gateway = gateway
        self.config = config
        self._label = header_value(config.label)
        self.route = route
        self.counters = gateway.pool_counters(config)
        self.answer_prefixes: dict[tuple[int, bytes, bytes], bytes] = {}
        self.strict = route.errors == "strict"
        self.crew = Crew(self)
        self.streams = Streams(self)
        self.core: Dispatcher[Job] = Dispatcher(route, mergeable=config.mergeable, now_s=monotonic())
        self.desk: CacheDesk | None = None
        self.shares = ClientShares()
        self.queues = False
        # The frame whose answers are being given out, for those who record them.
        self.in_hand: tuple[Frame[Job], Timing] | None = None
        self._looking = 0
        self._found_unmergeable = False
        self._failures = FailureReports(config.key, gateway.report)
        self._retired = False
        self._flush_due = False
        self._gathering = Gathering()
        self._sweep: asyncio.TimerHandle | None = None
        self._wake: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Pool {self.config.key} {self.core!r}>"

    # Requests.

    def submit(self, exchange: Exchange, now_s: float) -> None:
        """Take a request: it is answered in the end, by a worker, the cache, or with an error."""
        exchange.pool = self
        request = exchange.request
        timeout_s = self.route.timeout_s
        limit_s = request.timeout_s
        exchange.deadline_s = now_s + (timeout_s if limit_s is None or limit_s > timeout_s else limit_s)
        job: Job = exchange
        if self.route.queue.max_rows_per_client is not None and not self._charge(exchange, now_s):
            return
        if request.stream:
            if not self.streams.admit(exchange, now_s):
                return
            exchange.stream = exchange.solo = True
        elif self.desk is not None and not request.bypass_cache:
            flight = self._ask_cache(self.desk, exchange, now_s)
            if flight is None:
                return
            job = flight
        self._enqueue(job, now_s)

    def _charge(self, exchange: Exchange, now_s: float) -> bool:
        """Count a request against its client's share; False: it was refused."""
        connection, options = exchange.connection, self.route.queue
        if connection is None or options.max_rows_per_client is None:
            return True
        name = options.client_header
        sent = exchange.request.watched.get(name.encode("ascii")) if name is not None else None
        client = b"header " + sent if sent is not None else connection.peer()
        rows = estimate_rows(exchange.head, exchange.body)
        exchange.charge = self.shares.take(client, rows, options.max_rows_per_client)
        if exchange.charge is not None:
            return True
        waiting_rows = min(self.shares.rows[client], self.core.lanes.rows)
        retry_after_s = self.core.admission.retry_after_s(waiting_rows)
        limit = options.max_rows_per_client
        message = f"This client has {limit} rows waiting already, as many as one may; try again in {retry_after_s} s."
        self.fail(exchange, "REQUEST_LIMIT_EXCEEDED", message, now_s, retry_after_s=retry_after_s)
        return False

    def _enqueue(self, job: Job, now_s: float) -> None:
        """Queue what a worker must do, or turn it away."""
        core = self.core
        job.rows = estimate_rows(job.head, job.body)
        if not core.offer(job):
            self.counters.shed += len(job.asked_by())
            retry_after_s = core.admission.retry_after_s(core.lanes.rows)
            message = f"Model '{self.config.model}' has as much waiting as it may; try again in {retry_after_s} s."
            self.fail(job, "OVERLOADED", message, now_s, retry_after_s=retry_after_s)
            return
        if not self._flush_due and core.eager:
            # Not at once: what other connections send in the same moment goes into the same frame.
            self._flush_due = True
            self._gathering.begin(core.lanes.count)
            self.gateway.loop.call_soon(self._gather)
        self._watch()

    def adopt(self, jobs: list[Job]) -> None:
        """Take over requests that another pool could not finish."""
        for job in jobs:
            job.move(self)
            self.core.requeue(job)
        self.flush()
        self._watch()

    def take_copy(self, job: Job) -> bool:
        """Take a shadow's copy, which goes past the cache; False (and no trace of it) where the queue is full."""
        job.rows = estimate_rows(job.head, job.body)
        if not self.core.offer(job):
            return False
        self.flush()
        self._watch()
        return True

    def give_up(self, exchange: Exchange) -> None:
        """The client is gone."""
        self.counters.dropped += 1
        if exchange.charge is not None:
            exchange.charge.release()
        flight = exchange.flight
        if flight is not None:
            if exchange in flight.waiting and not flight.leave(exchange):
                self._ground([flight])
            return
        begun = exchange.reply is not None and exchange.state == SENT
        self.core.give_up(exchange)
        if begun and exchange.reply is not None:
            self.streams.leave(exchange.reply)
        self.settle()

    def fail(self, job: Job, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        """Answer everybody who waits for a job with an error of the gateway's own."""
        status = answers.http_status(code)
        for asked in job.asked_by():
            self.count_answer(status, now_s - asked.arrived_s)
        job.fail(code, message, now_s, retry_after_s=retry_after_s)

    def count_answer(self, status: int, latency_s: float) -> None:
        """A client has been answered."""
        statuses = self.counters.statuses
        statuses[status] = statuses.get(status, 0) + 1
        self.counters.latency.observe(latency_s)

    def gauges(self) -> Iterator[Sample]:
        """What there is now, labelled."""
        core, desk = self.core, self.desk
        labels = (("model", self.config.model), ("version", self.config.label))
        yield "headrace_queued_requests", labels, core.lanes.count
        yield "headrace_queued_rows", labels, core.lanes.rows
        yield "headrace_queued_bytes", labels, core.lanes.size_bytes
        yield "headrace_in_flight_requests", labels, core.in_flight
        yield "headrace_concurrency", labels, core.workers.concurrency
        for state, count in self.streams.states():
            yield "headrace_streams_open", (*labels, ("state", state)), count
        if desk is not None:
            yield "headrace_cache_entries", labels, desk.entries
            yield "headrace_cache_bytes", labels, desk.size_bytes

    def held_by_probes(self) -> bool:
        """Whether every worker is at work, and none of them for a client."""
        frames = self.core.frames()
        return len(frames) >= len(self.crew) > 0 and all(frame.works[0].probe for frame in frames)

    def model_failed(self, answer: Answer, request_id: bytes) -> None:
        """The model has failed on a request."""
        self._failures.add(answer, request_id)

    # What the supervisor wants.

    def configure(self, config: messages.Pool, route: messages.Route | None) -> list[asyncio.Task[None]]:
        """Make the pool what the newest table says. Returns the connections that are being made."""
        self.config = config
        core = self.core
        core.mergeable = config.mergeable and not self._found_unmergeable
        if route is not None:
            self.route = route
            self.strict = route.errors == "strict"
            core.configure(route)
            if route.cache is not None:
                if self.desk is None:
                    self.desk = CacheDesk(route.cache, config.identity, self.counters, self.gateway.spawn)
                else:
                    self.desk.configure(route.cache, config.identity)
            elif self.desk is not None:
                self.desk.unshare()
                self.desk = None
        elif self.desk is not None:
            self.desk.clear()  # kept warm, but not asked: its memory is the serving version's now
        self.queues = self.queues or bool(config.workers)
        connecting, leaving = self.crew.want(config.workers)
        for worker in leaving:
            self._retire_worker(worker)
        return connecting

    def retire(self) -> None:
        """Nothing new comes; finish, then let the workers go and report `Drained`."""
        self._retired = True
        if self.desk is not None:
            self.desk.clear()
            self.desk.unshare()
        self.settle()

    def close(self) -> None:
        """The gateway or this pool ends."""
        for timer in (self._sweep, self._wake):
            if timer is not None:
                timer.cancel()
        self._failures.close()
        self.crew.close()

    # What the crew reports.

    def joined(self, worker: str) -> None:
        """A worker is connected."""
        self.core.add_worker(worker)
        self.flush()

    def answered(self, channel: Channel, number: int, decoded: Answers) -> None:
        """A worker has answered its frame."""
        core = self.core
        frame = core.workers.find(channel.worker, number)
        if not self.crew.holds(channel):
            return
        if frame is None or len(decoded.answers) != len(frame.works):
            self.distrust(channel, "it answered what it was not asked")
            return
        now_s = monotonic()
        if core.company is not None and not frame.works[0].probe:
            timing = decoded.timing
            wall_us = timing.parse_us + timing.predict_us + timing.serialise_us
            core.watch(core.company, frame, wall_us / 1e6, timing.cpu_us / 1e6)
        self.worker_done(frame, now_s)
        if frame.works[0].probe:  # nobody's traffic: counted nowhere
            self._answer_probe(frame, decoded, now_s)
        else:
            self.in_hand = frame, decoded.timing
            self._deliver(frame, decoded, now_s)
            self.in_hand = None
        said = self._note(decoded.notes) if decoded.notes else _NO_NOTES
        self._failures.settle(decoded.answers, said.failures)
        self.settle()

    def lost(self, channel: Channel) -> None:
        """The connection to a worker has ended."""
        if not self.crew.holds(channel):
            return
        self.crew.forget(channel)
        worker = channel.worker
        now_s = monotonic()
        self.streams.lost(worker)
        held, failed = self.core.lost(worker)
        self.counters.lost += 1
        self.counters.retried += held - len(failed)
        self.gateway.report(messages.WorkerLost(worker, held))
        for job in failed:
            self.fail(
                job,
                "WORKER_DIED",
                f"Two workers of model '{self.config.model}' ended while they had this request; it is not tried again.",
                now_s,
            )
        self.flush()
        self.settle()

    def distrust(self, channel: Channel, reason: str) -> None:
        """A worker has sent what is no frame, or an answer that nobody asked for: never talk to it again."""
        if self.crew.holds(channel):
            self.gateway.report(messages.WorkerBroke(channel.worker, reason))
            self.crew.condemn(channel.worker)

    # Inside.

    def make_prefix(self, status: int, content_type: bytes, cached: bytes) -> bytes:
        """The part of an answer up to the value of Content-Length; kept until the date changes."""
        how = b"headrace-cache: %b\r\n" % cached if cached else b""
        prefix = self.head_lines(status, content_type) + how + b"content-length: "
        self.answer_prefixes[status, content_type, cached] = prefix
        return prefix

    def head_lines(self, status: int, content_type: bytes) -> bytes:
        """The part of an answer's head that is the same for all such answers."""
        return b"%b%bcontent-type: %b\r\nheadrace-model: %b\r\n" % (
            answers.status_line(status),
            self.gateway.date_line,
            header_bytes(content_type),
            self._label,
        )

    def _ask_cache(self, desk: CacheDesk, exchange: Exchange, now_s: float) -> Job | None:
        """Answer from the cache or join a flight (None), or return what a worker must do."""
        key = desk.key(exchange)
        if key is None:
            return exchange
        counters = self.counters
        kept = desk.find(key, now_s)
        if kept is not None:
            counters.cache_hits += 1
            self.count_answer(kept.status, 0.0)
            exchange.answer(kept, self, now_s, HIT)
            return None
        flight = desk.flight(key)
        if flight is not None:
            counters.cache_coalesced += 1
            flight.join(exchange)
            return None
        started = desk.start(key, exchange)
        shared = desk.shared
        if shared is not None and shared.look(started.head, started.body, partial(self._looked_up, started)):
            self._looking += 1
            return None
        counters.cache_misses += 1
        return started

    def _looked_up(self, flight: Flight, kept: Answer | None) -> None:
        """The second level of the cache has said what it has."""
        self._looking -= 1
        now_s = monotonic()
        if flight.state == GONE:
            pass  # nobody waits for it any more
        elif kept is not None:
            self.counters.cache_hits += 1
            self.count_answer(kept.status, now_s - flight.arrived_s)
            flight.answer(kept, self, now_s, HIT)
        else:
            self.counters.cache_misses += 1
            self._enqueue(flight, now_s)
        self.settle()

    def _ground(self, flights: list[Job]) -> None:
        """Nobody waits for these flights any more."""
        for flight in flights:
            self.core.give_up(flight)
            flight.fail("", "", 0.0)
        self.settle()

    def _deliver(self, frame: Frame[Job], decoded: Answers, now_s: float) -> None:
        counters = self.counters
        statuses = counters.statuses
        latency = counters.latency
        wait = counters.wait
        sent_s = frame.sent_s
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
                latency.observe(now_s - job.arrived_s)
                wait.observe(sent_s - job.arrived_s)
            job.answer(answer, self, now_s)
        counters.rows += rows
        counters.batch(decoded.timing, len(frame.works), batch_rows)

    def _answer_probe(self, frame: Frame[Job], decoded: Answers, now_s: float) -> None:
        job = frame.works[0]
        if job.state == DONE:
            job.answer(decoded.answers[0], self, now_s)

    def worker_done(self, frame: Frame[Job], now_s: float) -> None:
        """A worker has done its frame, and takes the next or is let go."""
        if not self.core.done(frame, now_s):
            self.crew.let_go(frame.worker)
        elif self.core.lanes.count or self.core.parking.any_ready:
            # The worker gets its next frame before its answers are written: it need not wait for that.
            self.flush()

    def _gather(self) -> None:
        """Called once a turn of the loop, after all sockets were read."""
        lanes = self.core.lanes
        if lanes.rows < self.core.batch.max_rows and self._gathering.goes_on(lanes.count):
            self.gateway.loop.call_soon(self._gather)
        elif self._flush_due:  # else a worker that was done has taken them
            self.flush()

    def flush(self) -> None:
        """Give the workers that have time what there is for them."""
        self._flush_due = False
        core = self.core
        now_s = monotonic()
        while (frame := core.next_frame(now_s)) is not None:
            if frame.begun:
                self.streams.resume(frame)
            else:
                self.crew[frame.worker].send(frame, beside=core.workers.concurrency > 1)
        if core.overdue:
            late, core.overdue = core.overdue, []
            self._too_late(late, now_s)
        if core.wake_s != NEVER_S and self._wake is None:
            self._wake = self.gateway.loop.call_later(max(0.0, core.wake_s - now_s), self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        self.core.wake_s = NEVER_S
        self.flush()

    def _watch(self) -> None:
        """Look again soon for what is late."""
        if self._sweep is None:
            self._sweep = self.gateway.loop.call_later(_SWEEP_S, self._on_sweep)

    def _on_sweep(self) -> None:
        self._sweep = None
        now_s = monotonic()
        late, hung = self.core.overtime(now_s)
        self._too_late(late, now_s)
        if self.desk is not None:
            self._too_late(list(self.desk.late(now_s)), now_s)
            self._ground(list(self.desk.empty_flights()))
        for frame in hung:
            self._hung(frame, now_s)
        self.streams.expire(now_s)
        if not self.core.empty:
            self._watch()
        self.settle()

    def _hung(self, frame: Frame[Job], now_s: float) -> None:
        self.counters.hung += 1
        self.gateway.report(messages.WorkerHung(frame.worker, now_s - frame.sent_s))
        self.crew.condemn(frame.worker)

    def _too_late(self, jobs: list[Exchange] | list[Job], now_s: float) -> None:
        self.counters.deadlines += sum(len(job.asked_by()) for job in jobs)
        for job in jobs:
            self.fail(
                job,
                "DEADLINE_EXCEEDED",
                f"Request processing time exceeded limit: no answer within {now_s - job.arrived_s:.3f} s.",
                now_s,
            )

    def _retire_worker(self, worker: str) -> None:
        if self.core.retire_worker(worker):
            self.crew.let_go(worker)

    def settle(self) -> None:
        """See whether a retired pool has finished, or is unable to."""
        if not self._retired:
            return
        if not self.crew and self.core.lanes.count:
            self.gateway.rehome(self, self.core.evict())
        if self.core.empty and not self._looking:
            for worker in self.crew.workers():
                self._retire_worker(worker)
            self.gateway.drained(self)

    def _note(self, notes: bytes) -> _Notes:
        """Heed what a worker says in a frame's notes: hazards that it met, and that it will not merge requests."""
        try:
            said = _notes.decode(notes)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _NO_NOTES
        if not said.mergeable:
            self._found_unmergeable = True
            self.core.mergeable = False
        self.gateway.hazards(self.config.key, said.hazards)
        return said
