"""How calls are made: for a client as a whole when it connects, and for one call where that should differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

from headrace.client.errors import BadRequest
from headrace.core.client.balancing import BreakerPolicy
from headrace.core.client.hedging import HedgePolicy
from headrace.core.client.retrying import BudgetPolicy, RetryPolicy


class Overrides(TypedDict, total=False):
    """What `connect` and each call take by name; the meaning is that of `Options`' fields."""

    deadline_s: float | None
    try_timeout_s: float | None
    connect_timeout_s: float
    max_tries: int | None
    back_off_s: float
    back_off_most_s: float
    idempotent: bool
    hedge: HedgePolicy | bool | None
    budget: BudgetPolicy | None
    breaker: BreakerPolicy | bool | None
    max_rows: int | None
    max_bytes: int | None
    parallel: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """None stands for no limit, and for 'off' where it is a policy.

    `deadline_s`: for one request with all of its tries; the server is told what is left of it, and an input that is
    cut has as much for each of its parts. `try_timeout_s`: for one try. `connect_timeout_s`: for making a connection.
    `max_tries`: the first one counts; `back_off_s` doubles up to `back_off_most_s`. `idempotent` False: a request that
    a model may have seen is not sent again. `hedge`: send a copy of what takes longer than nearly all before. `budget`:
    bounds the repetitions of all calls together. `breaker`: leave an address alone that fails again and again.
    `max_rows`, `max_bytes`: a larger input is cut, and `parallel` of its parts are in the air at a time.
    `headers`: sent with each request (authentication).

    For one call `budget=None` and `breaker=None` mean that the client's own do not bind it; others it cannot have, for
    they count over all calls.
    """

    deadline_s: float | None = 60.0
    try_timeout_s: float | None = None
    connect_timeout_s: float = 5.0
    max_tries: int | None = None
    back_off_s: float = 0.1
    back_off_most_s: float = 5.0
    idempotent: bool = True
    hedge: HedgePolicy | bool | None = None
    budget: BudgetPolicy | None = field(default_factory=BudgetPolicy)
    breaker: BreakerPolicy | bool | None = None
    max_rows: int | None = 10_000
    max_bytes: int | None = 8 * 1024 * 1024
    parallel: int = 4
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("deadline_s", "try_timeout_s", "connect_timeout_s", "max_rows", "max_bytes", "parallel"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadRequest(f"{name} must be greater than 0, got {value!r} (None stands for no limit)")
        try:
            _ = self.retry
        except ValueError as error:
            raise BadRequest(str(error)) from None

    @property
    def retry(self) -> RetryPolicy:
        """What `core.client.retrying` is asked with."""
        return RetryPolicy(self.max_tries, self.back_off_s, self.back_off_most_s, self.idempotent)

    @property
    def hedge_policy(self) -> HedgePolicy | None:
        """The policy that `hedge` means: True stands for the usual one. A request that may run once is never copied."""
        if not self.hedge or not self.idempotent:
            return None
        return HedgePolicy() if self.hedge is True else self.hedge

    @property
    def breaker_policy(self) -> BreakerPolicy | None:
        """The policy that `breaker` means: True stands for the usual one."""
        if not self.breaker:
            return None
        return BreakerPolicy() if self.breaker is True else self.breaker

    def but(self, overrides: Overrides) -> Options:
        """Return these options with some replaced; headers are added. Raises BadRequest for an unknown name."""
        if not overrides:
            return self
        unknown = set(overrides) - set(Overrides.__annotations__)
        if unknown:
            known = ", ".join(Overrides.__annotations__)
            raise BadRequest(f"unknown option {', '.join(sorted(unknown))}; there are: {known}")
        changed = dict(overrides)
        if "headers" in overrides:
            changed["headers"] = {**self.headers, **overrides["headers"]}
        return replace(self, **changed)  # type: ignore[arg-type]
