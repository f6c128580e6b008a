"""A served version as those see it who answer for it: how it is named and set up, and what is counted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.escaping import header_value
from headrace.gateway.failures import FailureReports

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.core.protocol import messages
    from headrace.gateway.counters import PoolCounters


class ServedVersion:
    """`config` and `route` are the newest that the supervisor said of it; `label` is what `Headrace-Model` says.

    `strict`: its errors carry the request's id.
    """

    __slots__ = ("config", "counters", "failures", "label", "route", "strict")

    def __init__(
        self,
        config: messages.Pool,
        route: messages.Route,
        counters: PoolCounters,
        report: Callable[[messages.FromGateway], None],
    ) -> None:
        self.label = header_value(config.label)
        self.counters = counters
        self.failures = FailureReports(config.key, report)
        self.configure(config, route)

    def __repr__(self) -> str:
        return f"<ServedVersion {self.config.label}>"

    def configure(self, config: messages.Pool, route: messages.Route) -> None:
        """This is what the newest table says of it."""
        self.config = config
        self.route = route
        self.strict = route.errors == "strict"

    def count_answer(self, status: int, latency_s: float) -> None:
        """A client has been answered."""
        statuses = self.counters.statuses
        statuses[status] = statuses.get(status, 0) + 1
        self.counters.latency.observe(latency_s)
