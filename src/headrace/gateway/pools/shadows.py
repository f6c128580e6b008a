"""Copies of requests for a shadow version: sent when the real answer is on its way, compared, counted, thrown away.

A copy never meets the cache, is never joined with a real request, waits in no queue that is long already, and has no
client: its result shows only in `headrace_shadow_total`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from headrace.core.serving.shadowing import Outcome, Shadowing, compare
from headrace.gateway.exchange import Exchange, Job, Owner, Source
from headrace.gateway.http import answers
from headrace.gateway.pools.flights import HIT

if TYPE_CHECKING:
    from headrace.core.protocol import messages
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.pools.pool import Pool
    from headrace.gateway.state import GatewayState
    from headrace.gateway.version import ServedVersion
    from headrace_worker.wire import Answer


class Watched(Exchange):
    """A client's request that is copied to a shadow once it is answered."""

    __slots__ = ("shadow",)

    shadow: Shadow

    def answer(self, answer: Answer, source: Source, now_s: float, cached: bytes = b"") -> None:
        """A worker has answered: the client first, the shadow after all that is due in this moment."""
        body = self.body
        super().answer(answer, source, now_s, cached)
        if cached is not HIT and self.pool is not None:
            self.shadow.copy_soon(self.head, body, answer, self.pool)


class Copy(Job):
    """A request without a client. `real` is the (status, body) to compare with."""

    __slots__ = ("_real", "_shadow", "_target")

    counted: ClassVar[bool] = False

    def __init__(self, shadow: Shadow, target: Pool, head: bytes, body: bytes, real: tuple[int, bytes]) -> None:
        now_s = monotonic()
        super().__init__(head, body, arrived_s=now_s, deadline_s=now_s + target.version.route.timeout_s)
        self._shadow = shadow
        self._target = target
        self._real = real

    def asked_by(self) -> tuple[()]:
        """No client."""
        return ()

    def answer(self, answer: Answer, source: Source, now_s: float) -> None:  # noqa: ARG002 - a job's signature
        """The shadow has answered."""
        source.version.counters.copy_answered(answer.status)
        self._shadow.done(self, source.version, compare(self._real, (answer.status, answer.body)))

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:  # noqa: ARG002
        """The shadow has not answered."""
        version = self._target.version
        version.counters.copy_answered(answers.http_status(code))
        self._shadow.done(self, version, "error")

    def move(self, owner: Owner) -> None:
        """Another version is not what it was for."""
        raise RuntimeError(f"a copy stays with its shadow, and does not move to {owner!r}")

    def outlives_pool(self) -> bool:
        """It was for this version only."""
        self._shadow.done(self, self._target.version, "dropped")
        return False


class Shadow:
    """The owner of one model's copies."""

    __slots__ = ("_counts", "_model", "_rule", "_state", "_target")

    def __init__(self, state: GatewayState, model: str) -> None:
        self._state = state
        self._model = model
        self._rule = Shadowing(0.0)
        self._target: Pool | None = None
        self._counts: dict[tuple[str, Outcome], int] = {}

    def configure(self, shadow: messages.Shadow | None, pools: Mapping[str, Pool]) -> None:
        """Make it what the newest table says; None: nothing is copied from now on."""
        self._target = pools.get(shadow.pool) if shadow is not None else None
        self._rule.share = shadow.share if shadow is not None else 0.0

    def wants(self, exchange: Exchange, pool: Pool) -> bool:
        """Whether this request, which `pool` answers, is to be copied."""
        target = self._target
        if target is None or target is pool or not target.queues or exchange.request.stream:
            return False
        return self._rule.due()

    def copy_soon(self, head: bytes, body: bytes, answer: Answer, owner: Owner) -> None:
        """Send a copy of what `owner` has answered, after all that is due in this moment."""
        self._state.loop.call_soon(self._copy, head, body, answer, owner)

    def done(self, copy: Copy, version: ServedVersion, outcome: Outcome) -> None:
        """A copy is over."""
        self._rule.done(copy.size_bytes)
        self._count(version, outcome)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted."""
        for (version, outcome), count in self._counts.items():
            labels = (("model", self._model), ("version", version), ("result", outcome))
            yield "headrace_shadow_total", labels, count

    def _copy(self, head: bytes, body: bytes, answer: Answer, owner: Owner) -> None:
        """Send a copy if there is room for it."""
        target = self._target
        if target is None or target is owner or self._state.writer.draining:
            return
        waiting_rows = owner.waiting_rows + target.waiting_rows
        if not self._rule.admit(len(body), waiting_rows=waiting_rows, frame_rows=target.core.batch.max_rows):
            self._count(target.version, "dropped")
            return
        copy = Copy(self, target, head, body, (answer.status, answer.body))
        if not target.take_copy(copy):
            self.done(copy, target.version, "dropped")

    def _count(self, version: ServedVersion, outcome: Outcome) -> None:
        key = (version.config.label, outcome)
        self._counts[key] = self._counts.get(key, 0) + 1
