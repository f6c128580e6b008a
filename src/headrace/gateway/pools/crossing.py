"""The entrance to a model whose traffic several versions share: chooses the pool of each request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from headrace.core.serving.splitting import point_of, share_at, stride_of
from headrace.gateway.pools.shadows import Shadow, Watched

if TYPE_CHECKING:
    from headrace.core.protocol.messages import Split
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.pools.pool import Pool
    from headrace.gateway.state import GatewayState


class Crossing:
    """Stands where a pool would (`queues`, `submit`). `main` takes what no other version can.

    `refuse` answers a request that pins a version that does not serve; it is told that version, and those that do.
    """

    __slots__ = (
        "_pin",
        "_pins",
        "_refuse",
        "_salt",
        "_shadow",
        "_shares",
        "_sticky",
        "_stride",
        "_total",
        "_turn",
        "main",
    )

    def __init__(
        self, state: GatewayState, model: str, refuse: Callable[[Exchange, str, list[str], float], None]
    ) -> None:
        self._refuse = refuse
        self._salt = model.encode()
        self._turn = 0
        self._total = self._stride = 1
        self._shares: list[tuple[Pool, int]] = []
        self._pins: dict[str, Pool] = {}
        self._pin: bytes | None = None
        self._sticky: bytes | None = None
        self._shadow = Shadow(state, model)
        self.main: Pool

    def __repr__(self) -> str:
        return f"<Crossing {self._shares} main={self.main!r}>"

    def configure(self, split: Split, main: Pool, pools: Mapping[str, Pool]) -> None:
        """Make it what the newest table says."""
        self.main = main
        # A share keeps its place on the line when its version does not serve: the main one stands in, nobody moves.
        self._shares = [(pools.get(share.pool, main), share.weight) for share in split.shares] or [(main, 1)]
        self._total = sum(weight for _, weight in self._shares)
        self._stride = stride_of(self._total)
        self._pins = {name: pools[key] for name, key in split.pins.items() if key in pools}
        self._pin = split.pin_header.encode() if split.pin_header is not None else None
        self._sticky = split.sticky_header.encode() if split.sticky_header is not None else None
        self._shadow.configure(split.shadow, pools)

    @property
    def queues(self) -> bool:
        """Whether requests can be taken at all."""
        return self.main.queues

    def submit(self, exchange: Exchange, now_s: float) -> None:
        """Take a request: give it to the version that it pins, or to the one whose share it falls into."""
        request = exchange.request
        wanted = request.watched.get(self._pin) if self._pin is not None else None
        if wanted is not None:
            name = wanted.decode("latin-1")
            pinned = self._pins.get(name)
            if pinned is None:
                self._refuse(exchange, name, sorted(self._pins), now_s)
                return
            pool = pinned
        else:
            key = request.request_id if self._sticky is None else request.watched.get(self._sticky)
            if key is not None:
                point = point_of(key, self._salt, self._total)
            else:
                self._turn = (self._turn + self._stride) % self._total
                point = self._turn
            pool = share_at(self._shares, point)
            if not pool.queues:
                pool = self.main
        shadow = self._shadow
        connection = exchange.connection
        if shadow.wants(exchange, pool) and connection is not None:
            watched = Watched(connection, request, exchange.body, now_s)
            watched.shadow = shadow
            connection.swap(exchange, watched)
            exchange = watched
        pool.submit(exchange, now_s)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted."""
        return self._shadow.samples()
