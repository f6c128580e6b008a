"""Which requests are traced, and where each stands in its trace: decided once, when a worker gets it or at its end.

Its caller's span decides where a request names one; else the request's own new trace id does, for the collector and for
MLflow by a share each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import getrandbits
from typing import TYPE_CHECKING, NamedTuple

from headrace.core.protocol.records import MLFLOW, TRACE
from headrace.core.serving.tracing import parse_traceparent, ratio_bound, usable_state
from headrace.gateway.http.targets import PREDICTIONS

if TYPE_CHECKING:
    from headrace.core.protocol import messages
    from headrace.gateway.exchange import Exchange, Job


class Place(NamedTuple):
    """A request's place in a trace, in the order of `records.Trace`, and who wants it (bits of `Record.wanted_by`)."""

    trace_id: bytes
    span_id: bytes
    parent: bytes
    state: bytes
    predict: bytes
    wanted_by: int


NOWHERE = Place(b"", b"", b"", b"", b"", 0)


class Tracer:
    """Decides by what the configuration says of the shares."""

    def __init__(self, options: messages.Recording) -> None:
        self._bounds = [
            (bit, ratio_bound(share))
            for bit, share in ((TRACE, options.trace_sample), (MLFLOW, options.mlflow_sample))
            if share is not None
        ]
        self._all = sum(bit for bit, _ in self._bounds)
        self.is_on = bool(self._bounds)

    def place(self, exchange: Exchange) -> Place:
        """Where the request stands, the same each time it is asked for."""
        place = exchange.place
        if place is None:
            place = exchange.place = self._decide(exchange)
        return place

    def contexts(self, works: Sequence[Job]) -> list[bytes]:
        """What a worker is told of the traced requests among these (`records.ModelSpans.contexts`)."""
        found = []
        for work in works:
            for asked in work.asked_by():
                place = self.place(asked)  # type: ignore[arg-type] # who asks is a client
                if place.predict:
                    found.append(place.trace_id + place.predict)
        return found

    def _decide(self, exchange: Exchange) -> Place:
        request = exchange.request
        if not self.is_on or request.target.want not in PREDICTIONS:
            return NOWHERE
        watched = request.watched
        parent = parse_traceparent(watched.get(b"traceparent"))
        if parent is not None:
            if not parent.sampled:
                return NOWHERE
            state = usable_state(watched.get(b"tracestate"))
            return self._made(parent.trace_id, os.urandom(8), parent.span_id, state, self._all)
        low = getrandbits(64)
        wanted_by = sum(bit for bit, below in self._bounds if low < below)
        if not wanted_by:
            return NOWHERE
        made = os.urandom(16)
        return self._made(made[:8] + low.to_bytes(8), made[8:], b"", b"", wanted_by)

    def _made(self, trace_id: bytes, span_id: bytes, parent: bytes, state: bytes, wanted_by: int) -> Place:
        predict = os.urandom(8) if wanted_by & MLFLOW else b""
        return Place(trace_id, span_id, parent, state, predict, wanted_by)
