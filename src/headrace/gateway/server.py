"""The gateway itself: routes, pools and connections of one process, and what is answered without a worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from itertools import count
from time import gmtime, monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.core.escaping import header_bytes, header_value
from headrace.core.protocol import messages
from headrace.core.serving.admission import ClientShares
from headrace.core.serving.crowd import EXPLAINED, Crowd
from headrace.core.serving.memory import MemoryBudget
from headrace.core.telemetry.totals import Sample
from headrace.gateway import answers
from headrace.gateway.counters import GatewayCounters, PoolCounters
from headrace.gateway.crossing import Crossing
from headrace.gateway.pool import Pool
from headrace.gateway.probing import ProbeJob
from headrace.gateway.recording import Recording
from headrace.gateway.routing import Target, Want

if TYPE_CHECKING:
    from headrace.gateway.connection import Connection
    from headrace.gateway.exchange import Exchange, Job

_TICK_S = 0.5
_RESERVED_DESCRIPTORS = 256
_MANY_DESCRIPTORS = 1 << 20


class Gateway:
    """One owner of the routing table. `report` sends a message to the supervisor.

    `descriptors`: how many files the process may have open. No body may be larger than what one connection can have of
    the gateway's memory, whatever `limits` says.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: messages.Limits,
        report: Callable[[messages.FromGateway], None],
        *,
        descriptors: int = _MANY_DESCRIPTORS,
    ) -> None:
        self.loop = loop
        self.memory = MemoryBudget(limits.max_memory_bytes)
        most_bytes = min(limits.max_body_bytes, self.memory.largest_bytes)
        self.limits = msgspec.structs.replace(limits, max_body_bytes=most_bytes)
        self.report = report
        self.counters = GatewayCounters()
        self.recording: Recording | None = None
        self.draining = False
        self.close_line = b""
        self.date_line = b""
        self.stream_shares = ClientShares()
        self.idle = asyncio.Event()
        self._routes: dict[str, messages.Route] = {}
        self._ready = "all"
        self._serving: dict[str, Pool] = {}
        self._entrances: dict[str, Pool | Crossing] = {}
        self._crossings: dict[str, Crossing] = {}
        self._pools: dict[str, Pool] = {}
        self._counted: dict[tuple[str, str], PoolCounters] = {}
        self._retired: dict[str, Pool] = {}
        self._connections: set[Connection] = set()
        self._crowd = Crowd(
            limits.max_connections,
            limits.max_connections_per_client,
            descriptors=descriptors,
            reserved=min(_RESERVED_DESCRIPTORS, descriptors // 4),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._id_prefix = os.urandom(5).hex().encode("ascii")
        self._ids = count(1)
        self._ticker: asyncio.TimerHandle | None = None
        self._tick()

    def __repr__(self) -> str:
        pools = list(self._pools.values())
        return f"<Gateway routes={sorted(self._routes)} pools={pools} connections={len(self._connections)}>"

    # What the supervisor wants.

    def record(self, options: messages.Recording) -> None:
        """Tell a recorder of every request from now on."""
        self.recording = Recording(self.loop, options, self.spawn)

    async def apply(self, table: messages.Table) -> None:
        """Make `table` so; returns when it is in force for every request from now on.

        Connects to the new workers first, then turns all routes in one step. What was queued stays with its pool.
        """
        routes = {route.model: route for route in table.routes}
        by_pool = {key: route for route in table.routes for key in route.pools}
        connecting: list[asyncio.Task[None]] = []
        for config in table.pools:
            route = by_pool.get(config.key)
            pool = self._pools.get(config.key)
            if pool is None:
                route = route or routes.get(config.model) or messages.Route(model=config.model)
                pool = self._pools[config.key] = Pool(self, config, route)
            connecting += pool.configure(config, route)
        if connecting:
            await asyncio.wait(connecting)
        wanted = {config.key for config in table.pools}
        gone = [pool for key, pool in self._pools.items() if key not in wanted]
        self._pools = {key: pool for key, pool in self._pools.items() if key in wanted}
        self._routes = routes
        for model in routes:
            self.counters.other.setdefault(("invocations", model, 503), 0)
        self._ready = table.ready
        self._serving = {
            model: self._pools[route.pool]
            for model, route in routes.items()
            if route.pool is not None and route.pool in self._pools
        }
        self._open_entrances()
        for pool in gone:
            self._retired[pool.config.key] = pool
            pool.retire()

    def begin_drain(self) -> None:
        """From now on every answer ends its connection; `idle` is set when none is left."""
        self.draining = True
        self.close_line = answers.CLOSE
        if not self._connections:
            self.idle.set()

    def close_idle(self) -> None:
        """Close the connections on which nothing is asked."""
        for connection in list(self._connections):
            connection.close_when_done()

    def close(self) -> None:
        """End at once."""
        if self._ticker is not None:
            self._ticker.cancel()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.transport.abort()
        for pool in (*self._pools.values(), *self._retired.values()):
            pool.close()

    def stats(self) -> list[Sample]:
        """Everything that was counted since the start, and what there is now."""
        values = [*self.counters.samples(), *self.memory.samples(), *self._crowd.samples()]
        for (model, version), counters in self._counted.items():
            values.extend(counters.samples(model, version))
        for pool in (*self._pools.values(), *self._retired.values()):
            values.extend(pool.gauges())
        for crossing in self._crossings.values():
            values.extend(crossing.samples())
        if self.recording is not None:
            values.extend(self.recording.samples())
        return values

    def probe(self, asked: messages.Probe) -> None:
        """Ask a pool for a prediction on the supervisor's behalf."""
        pool = self._pools.get(asked.pool)
        if pool is None or not pool.queues:
            self.report(messages.Probed(token=asked.token, status=503, reason="no worker of it is here", asked=False))
        else:
            pool.adopt([ProbeJob(asked, self.report, monotonic())])

    # What connections ask for.

    def opened(self, connection: Connection, descriptor: int) -> None:
        """A client has connected; it is turned away where there are too many."""
        counters = self.counters
        counters.connections += 1
        self._connections.add(connection)
        counters.open_connections = len(self._connections)
        crowd = self._crowd
        reason = crowd.enter(connection.peer() if crowd.tells_clients_apart else b"", descriptor)
        if reason is None:
            return
        if crowd.worth_telling(reason, monotonic()):
            self.report(messages.Crowded(reason))
        connection.on_refused("OVERLOADED", EXPLAINED[reason])
        if not crowd.may_linger(descriptor):
            connection.transport.close()

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._crowd.leave(connection.peer() if self._crowd.tells_clients_apart else b"")
        self.counters.open_connections = len(self._connections)
        if self.draining and not self._connections:
            self.idle.set()

    def refused(self, code: str) -> None:
        """A client was turned away before its request was understood."""
        refused = self.counters.refused
        refused[code] = refused.get(code, 0) + 1

    def relieve(self) -> None:
        """Where clients leave so much unread that there is no memory for it, cut off the one that leaves most."""
        if self.memory.unread_bytes <= self.memory.limit_bytes:
            return
        worst = max(self._connections, key=lambda connection: connection.account.unread_bytes)
        self._crowd.turned_away["unread"] += 1
        worst.account.unread(0)
        worst.transport.abort()

    def overloaded(self, exchange: Exchange, now_s: float) -> None:
        """There is no memory for a request."""
        message = "The gateway holds as many bytes of requests as it may; try again in a moment."
        self._fail(exchange, "OVERLOADED", message, now_s, retry_after_s=1)

    def handle(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request, or give it to the pool that will."""
        request = exchange.request
        target = request.target
        if target.want == Want.INVOKE and not request.problem:
            entrance = self._entrances.get(target.model)  # type: ignore[arg-type]
            if entrance is not None and entrance.queues:
                entrance.submit(exchange, now_s)
                return
        self.answer(exchange, now_s)

    def answer(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request without a worker."""
        request = exchange.request
        want, model, detail = request.target
        if request.problem:
            self._fail(exchange, "BAD_REQUEST", request.problem, now_s)
        elif want == Want.HEALTH:
            self._answer_health(exchange, model, now_s)
        elif want == Want.NOT_FOUND:
            self._reply(exchange, 404, answers.NOT_FOUND, now_s)
        elif want == Want.WRONG_METHOD:
            self._reply(exchange, 405, answers.METHOD_NOT_ALLOWED, now_s, extra=b"allow: %b\r\n" % detail)
        elif want == Want.REDIRECT:
            scheme = exchange.connection.port.scheme  # type: ignore[union-attr]
            base = b"%b://%b" % (scheme, request.host) if request.host else b""
            extra = b"location: %b\r\n" % header_bytes(base + detail)
            self._reply(exchange, 307, b"", now_s, content_type=None, extra=extra)
        elif want == Want.MODELS:
            self._reply(exchange, 200, self._list_models(), now_s)
        elif want == Want.WRONG_MODEL or (model not in self._routes and exchange.connection.port.model is None):  # type: ignore[union-attr]
            self._answer_unknown_model(exchange, now_s)
        elif want == Want.VERSION and (pool := self._serving.get(model)) is not None:  # type: ignore[arg-type]
            self._reply(exchange, 200, pool.config.mlflow_version.encode(), now_s)
        else:
            self._fail(exchange, "TEMPORARILY_UNAVAILABLE", self._why_not(model or ""), now_s, retry_after_s=1)

    def takes_body(self, target: Target) -> bool:
        """Whether a request for `target` would be given to a worker now, so that its body is needed."""
        entrance = self._entrances.get(target.model) if target.want == Want.INVOKE else None  # type: ignore[arg-type]
        return entrance is not None and entrance.queues

    def new_request_id(self) -> bytes:
        """An id for a request whose client has not given one; unique among all gateways with near certainty."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def is_strict(self, model: str | None) -> bool:
        """Whether errors of this model carry the request's id."""
        route = self._routes.get(model) if model is not None else None
        return route is not None and route.errors == "strict"

    # What pools ask for.

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that the gateway holds and cancels at its end."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def rehome(self, pool: Pool, jobs: list[Job]) -> None:
        """The workers of a retired pool are gone: its model's current pool finishes what waited, if there is one."""
        model = pool.config.model
        current = self._serving.get(model)
        now_s = monotonic()
        jobs = [job for job in jobs if job.outlives_pool()]
        if current is not None and current is not pool and current.queues:
            current.adopt(jobs)
            return
        for job in jobs:
            pool.fail(job, "TEMPORARILY_UNAVAILABLE", self._why_not(model), now_s, retry_after_s=1)

    def unknown_version(self, exchange: Exchange, wanted: str, there: list[str], now_s: float) -> None:
        """A request asks for a version that does not serve."""
        names = ", ".join(f"'{name}'" for name in there)
        message = f"No version '{wanted}' of model '{exchange.request.target.model}' serves; there are: {names}."
        self._fail(exchange, "NOT_FOUND", message, now_s)

    def pool_counters(self, config: messages.Pool) -> PoolCounters:
        """What is counted for a version: one object for all pools of it that there are at a time."""
        return self._counted.setdefault((config.model, config.label), PoolCounters())

    def drained(self, pool: Pool) -> None:
        """Nothing of a retired pool is left here."""
        if self._retired.pop(pool.config.key, None) is None:
            return
        pool.close()
        if not any(other.counters is pool.counters for other in (*self._pools.values(), *self._retired.values())):
            # What it counted since it was last asked is told now, for the next time it is not there any more.
            self.report(messages.Stats(0, self.stats()))
            del self._counted[pool.config.model, pool.config.label]
        self.report(messages.Drained(pool.config.key))

    def hazards(self, pool_key: str, counts: dict[str, int]) -> None:
        """A worker noticed hazards of the protocol."""
        if counts:
            self.report(messages.Hazard(pool_key, counts))

    # Inside.

    def _open_entrances(self) -> None:
        """Where a model has one version with traffic its pool is its entrance, and nothing stands before it."""
        self._entrances = dict(self._serving)
        self._crossings = {model: c for model, c in self._crossings.items() if model in self._routes}
        for model, pool in self._serving.items():
            split = self._routes[model].split
            if split is not None:
                crossing = self._crossings.setdefault(model, Crossing(self, model))
                crossing.configure(split, pool, self._pools)
                self._entrances[model] = crossing

    def _answer_health(self, exchange: Exchange, model: str | None, now_s: float) -> None:
        port_model = exchange.connection.port.model  # type: ignore[union-attr]
        if model is not None and model not in self._routes and port_model is None:
            self._answer_unknown_model(exchange, now_s)
            return
        models = [model] if model is not None else sorted(self._routes)
        down = [name for name in models if not self._is_ready(name)]
        enough = not down or (model is None and self._ready == "any" and len(down) < len(models))
        if models and enough:
            failing = "; ".join(f"{name}: {why}" for name in models if (why := self._failing(name)))
            extra = b"headrace-failing: %b\r\n" % header_value(failing[:500]) if failing else b""
            self._reply(exchange, 200, b"\n", now_s, extra=extra)
            return
        why = " ".join(self._why_not(name) for name in down) if models else "No model is configured yet."
        self._fail(exchange, "TEMPORARILY_UNAVAILABLE", why, now_s, retry_after_s=1)

    def _answer_unknown_model(self, exchange: Exchange, now_s: float) -> None:
        port_model = exchange.connection.port.model  # type: ignore[union-attr]
        there = [port_model] if port_model is not None else sorted(self._routes)
        names = ", ".join(f"'{name}'" for name in there) or "none"
        message = f"There is no model '{exchange.request.target.model}' here; there are: {names}."
        self._fail(exchange, "NOT_FOUND", message, now_s)

    def _is_ready(self, model: str) -> bool:
        pool = self._serving.get(model)
        return pool is not None and len(pool.crew) > 0 and not self._routes[model].unwell

    def _failing(self, model: str) -> str:
        """Why a model that is ready is of no use; empty where nothing is known against it."""
        route = self._routes.get(model)
        return route.failing if route is not None else ""

    def _why_not(self, model: str) -> str:
        route = self._routes.get(model)
        if route is None:
            return f"Model '{model}' is not configured yet."
        if route.pool is None:
            return f"Model '{model}' does not serve yet: {route.reason or 'it is being loaded'}."
        if route.unwell:
            return f"Model '{model}' is not well: {route.unwell}."
        return f"Model '{model}' has no running worker: {route.reason or 'a new one is being started'}."

    def _list_models(self) -> bytes:
        models = []
        for model in sorted(self._routes):
            pool = self._serving.get(model)
            label = pool.config.label if pool is not None else None
            failing = bool(self._failing(model))
            models.append({"name": model, "label": label, "ready": self._is_ready(model), "failing": failing})
        return msgspec.json.encode(models)

    def _reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        now_s: float,
        *,
        content_type: bytes | None = answers.JSON,
        extra: bytes = b"",
    ) -> None:
        self._count(exchange, status)
        exchange.reply_with(status, body, now_s, content_type=content_type, extra=extra)

    def _fail(self, exchange: Exchange, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        self._count(exchange, answers.http_status(code))
        exchange.fail(code, message, now_s, retry_after_s=retry_after_s)

    def _count(self, exchange: Exchange, status: int) -> None:
        want, model, _ = exchange.request.target
        if want == Want.INVOKE:  # a model that has no version to take it: the error is the model's, too
            key = ("invocations", model if model is not None and model in self._routes else "", status)
        else:
            key = (want.name.lower(), "", status)
        other = self.counters.other
        other[key] = other.get(key, 0) + 1

    def _tick(self) -> None:
        """Twice a second: the date, and the connections whose time is up (a look at each: 30 ns)."""
        self._ticker = self.loop.call_later(_TICK_S, self._tick)
        date_line = b"date: %b\r\n" % answers.http_date(gmtime())
        if date_line != self.date_line:
            self.date_line = date_line
            for pool in (*self._pools.values(), *self._retired.values()):
                pool.answer_prefixes.clear()
        now_s = monotonic()
        late = [connection for connection in self._connections if connection.deadline_s <= now_s]
        for connection in late:
            connection.expire(now_s)
