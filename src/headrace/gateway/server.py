"""The gateway itself: the routes and the pools of one process, and who answers a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import gmtime, monotonic
from typing import TYPE_CHECKING

from headrace.core.protocol import messages
from headrace.gateway import asking, bodies
from headrace.gateway.counters import PoolCounters
from headrace.gateway.feedback import FeedbackDesk
from headrace.gateway.http.clients import Clients
from headrace.gateway.http.port import Port
from headrace.gateway.http.targets import PREDICTIONS, Target, Want
from headrace.gateway.local import LocalAnswers
from headrace.gateway.mcp.endpoint import Endpoint
from headrace.gateway.pools.crossing import Crossing
from headrace.gateway.pools.load import LoadReports
from headrace.gateway.pools.pool import Pool
from headrace.gateway.pools.probing import ProbeJob
from headrace.gateway.quotas import MeteredEntrance, Quotas
from headrace.gateway.recording import Recording
from headrace.gateway.state import GatewayState

if TYPE_CHECKING:
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.exchange import Exchange, Job
    from headrace.gateway.security.guard import Guard
    from headrace.gateway.security.pages import PageCheck

_TICK_S = 0.5
_MANY_DESCRIPTORS = 1 << 20


class Gateway:
    """One owner of the routing table. `report` sends a message to the supervisor.

    `descriptors`: how many files the process may have open. `quotas`: where clients are counted. `state` and `clients`
    are what connections have of it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: messages.Limits,
        report: Callable[[messages.FromGateway], None],
        *,
        descriptors: int = _MANY_DESCRIPTORS,
        quotas: Quotas | None = None,
    ) -> None:
        self.state = GatewayState(loop, limits, report)
        self.clients = Clients(self.state, descriptors=descriptors)
        self.recording: Recording | None = None
        self._local = LocalAnswers(self.state.counters)
        self._feedback = FeedbackDesk(self._local, self.state.spawn)
        self._mcp = Endpoint(self.state.counters)
        self._quotas = quotas or Quotas(None, 1, 0)
        self._metered = False
        self._routes: dict[str, messages.Route] = {}
        self._serving: dict[str, Pool] = {}
        # By what a target has: None, which stands for all models, has no entrance.
        self._entrances: dict[str | None, Pool | Crossing | MeteredEntrance] = {}
        self._crossings: dict[str, Crossing] = {}
        self._pools: dict[str, Pool] = {}
        self._counted: dict[tuple[str, str], PoolCounters] = {}
        self._retired: dict[str, Pool] = {}
        self._loads = LoadReports(report)
        self._ticker: asyncio.TimerHandle | None = None
        self._tick()

    def __repr__(self) -> str:
        pools = list(self._pools.values())
        return f"<Gateway routes={sorted(self._routes)} pools={pools} connections={len(self.clients)}>"

    # What the process wants.

    def record(self, options: messages.Recording) -> None:
        """Tell a recorder of every request from now on. Called before there is any connection."""
        self.state.recording = self.recording = Recording(self.state.loop, options, self.state.spawn)
        if options.mlflow_sample is not None:
            self.state.spans = self.recording
            self._feedback.open(options.socket)

    def port(
        self, model: str | None, *, tls: bool = False, guard: Guard | None = None, pages: PageCheck | None = None
    ) -> Port:
        """What the connections of one listening socket have: `model` is whose own port it is."""
        return Port(self.state, self.clients, self, model, tls=tls, guard=guard, pages=pages)

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
                first = route or routes.get(config.model) or messages.Route(model=config.model)
                counters = self._counted.setdefault((config.model, config.label), PoolCounters())
                pool = self._pools[config.key] = Pool(self.state, self, config, first, counters)
            connecting += pool.configure(config, route)
        if connecting:
            await asyncio.wait(connecting)
        wanted = {config.key for config in table.pools}
        gone = [pool for key, pool in self._pools.items() if key not in wanted]
        self._pools = {key: pool for key, pool in self._pools.items() if key in wanted}
        self._routes = routes
        self._serving = {
            model: self._pools[route.pool]
            for model, route in routes.items()
            if route.pool is not None and route.pool in self._pools
        }
        self.state.writer.strict_models = {model for model, route in routes.items() if route.errors == "strict"}
        self._local.configure(routes, self._serving, self._pools, table.ready)
        self._mcp.configure(table.tools, routes, self._serving)
        self._open_entrances(metered=self._quotas.configure(table.quotas))
        for pool in gone:
            self._retired[pool.version.config.key] = pool
            pool.retire()

    def close(self) -> None:
        """End at once."""
        if self._ticker is not None:
            self._ticker.cancel()
        self.state.close()
        self.clients.close()
        for pool in (*self._pools.values(), *self._retired.values()):
            pool.close()

    def stats(self) -> list[Sample]:
        """Everything that was counted since the start, and what there is now."""
        state = self.state
        values = [*state.counters.samples(), *state.memory.samples(), *self.clients.samples(), *self._quotas.samples()]
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
        pool, report = self._pools.get(asked.pool), self.state.report
        if pool is None or not pool.queues:
            report(messages.Probed(token=asked.token, status=503, reason="no worker of it is here", asked=False))
        else:
            pool.adopt([ProbeJob(asked, pool, report, monotonic())])

    # What connections ask for.

    def handle(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request, or give it to the pool that will."""
        request = exchange.request
        target = request.target
        if target.want == Want.INVOKE and not request.problem:
            entrance = self._entrances.get(target.model)
            if entrance is not None and entrance.queues:
                entrance.submit(exchange, now_s)
                return
        elif not request.problem and self._spoken(exchange, target, now_s):
            return
        self.answer(exchange, now_s)

    def answer(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request without a worker."""
        if exchange.connection is not None:
            self._local.answer(exchange, exchange.connection, now_s)

    def overloaded(self, exchange: Exchange, now_s: float) -> None:
        """There is no memory for a request."""
        self._local.overloaded(exchange, now_s)

    def takes_body(self, target: Target) -> bool:
        """Whether a request for `target` would be given to a worker now, so that its body is needed."""
        if target.want not in PREDICTIONS:
            return target.want in {Want.INDEX, Want.FEEDBACK} or (target.want == Want.MCP and self._mcp.spoken)
        if target.want is Want.ASK and target.model is None:
            return True
        entrance = self._entrances.get(target.model)
        return entrance is not None and entrance.queues

    # What pools ask for.

    def rehome(self, pool: Pool, jobs: list[Job]) -> None:
        """The workers of a retired pool are gone: its model's current pool finishes what waited, if there is one."""
        model = pool.version.config.model
        current = self._serving.get(model)
        now_s = monotonic()
        jobs = [job for job in jobs if job.outlives_pool()]
        if current is not None and current is not pool and current.queues:
            current.adopt(jobs)
            return
        for job in jobs:
            why = self._local.why_not(model)
            job.fail_for(pool.version, "TEMPORARILY_UNAVAILABLE", why, now_s, retry_after_s=1)

    def drained(self, pool: Pool) -> None:
        """Nothing of a retired pool is left here."""
        config, counters = pool.version.config, pool.version.counters
        if self._retired.pop(config.key, None) is None:
            return
        pool.close()
        others = (*self._pools.values(), *self._retired.values())
        if not any(other.version.counters is counters for other in others):
            # What it counted since it was last asked is told now, for the next time it is not there any more.
            self.state.report(messages.Stats(0, self.stats()))
            del self._counted[config.model, config.label]
        self.state.report(messages.Drained(config.key))

    # Inside.

    def _spoken(self, exchange: Exchange, target: Target, now_s: float) -> bool:
        """Take a request for a prediction in another protocol; False: it is none, or no worker can answer it.

        And feedback on one.
        """
        if target.want == Want.FEEDBACK:
            self._feedback.take(exchange, now_s)
            return True
        if target.want == Want.INFER:
            return self._infer(exchange, target, now_s)
        if target.want == Want.MCP and self._mcp.spoken:
            call = self._mcp.take(exchange, now_s)
            if call is not None:
                self.handle(call, now_s)
            return True
        return target.want == Want.ASK and self._ask(exchange, now_s)

    def _infer(self, exchange: Exchange, target: Target, now_s: float) -> bool:
        """Give a request of another protocol to the pool that will answer it; False: no worker can."""
        model = target.model or ""
        entrance = self._entrances.get(model)
        if entrance is None or not entrance.queues:
            return False
        self.state.counters.spoke("grpc" if exchange.request.grpc else target.protocol, model)
        if not target.detail:
            entrance.submit(exchange, now_s)
            return True
        versions = self._local.versions(model)
        wanted = target.detail.decode("utf-8", "replace")
        pool = versions.get(wanted)
        if pool is None:
            self._local.unknown_version(exchange, wanted, sorted(versions), now_s)
        elif self._metered:
            MeteredEntrance(self._quotas, pool, pool).submit(exchange, now_s)
        else:
            pool.submit(exchange, now_s)
        return True

    def _ask(self, exchange: Exchange, now_s: float) -> bool:
        """Give a request in OpenAI's dialect to the pool that will answer it; False: no worker can."""
        try:
            request = asking.read(exchange.request, exchange.body)
        except bodies.Refused as refused:
            if refused.code == "PERMISSION_DENIED" and exchange.connection is not None:
                exchange.connection.port.count_forbidden()
            self._local.refuse(exchange, refused.code, str(refused), now_s)
            return True
        exchange.request, exchange.head = request, request.wire_head
        entrance = self._entrances.get(request.target.model)
        if entrance is None or not entrance.queues:
            return False
        self.state.counters.spoke(request.target.protocol, request.target.model or "")
        entrance.submit(exchange, now_s)
        return True

    def _open_entrances(self, *, metered: bool) -> None:
        """Where a model has one version with traffic its pool is its entrance, and nothing stands before it."""
        entrances: dict[str, Pool | Crossing] = dict(self._serving)
        self._crossings = {model: c for model, c in self._crossings.items() if model in self._routes}
        for model, pool in self._serving.items():
            split = self._routes[model].split
            if split is None:
                continue
            crossing = self._crossings.get(model)
            if crossing is None:
                crossing = self._crossings[model] = Crossing(self.state, model, self._local.unknown_version)
            crossing.configure(split, pool, self._pools)
            entrances[model] = crossing
        self._entrances = dict(entrances.items())
        self._metered = metered
        if metered:
            self._entrances.update(self._quotas.entrances(entrances, self._serving))

    def _tick(self) -> None:
        """Twice a second: the date, the connections whose time is up, and what there is to do."""
        self._ticker = self.state.loop.call_later(_TICK_S, self._tick)
        self.state.writer.set_date(gmtime())
        now_s = monotonic()
        self.clients.expire(now_s)
        self._loads.tell(self._pools.values(), now_s)
