"""Which requests are traced: the caller decides, or the shares do, and once for each request."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core.protocol.messages import Recording
from headrace.core.protocol.records import MLFLOW, TRACE
from headrace.gateway.exchange import Exchange
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want
from headrace.gateway.tracing import NOWHERE, Tracer

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def exchange(flags: str | None = None, want: Want = Want.INVOKE) -> Exchange:
    head = RequestHead()
    head.target = Target(want, "m")
    if flags is not None:
        head.watched = {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{flags}".encode(), b"tracestate": b"a=b"}
    nobody: Any = None
    return Exchange(nobody, head, b"", 0.0)


def tracer(otlp: float | None, mlflow: float | None) -> Tracer:
    return Tracer(Recording(socket="", trace_sample=otlp, mlflow_sample=mlflow))


@pytest.mark.parametrize(
    ("otlp", "mlflow", "wanted_by"),
    [(None, None, 0), (1.0, None, TRACE), (None, 1.0, MLFLOW), (1.0, 1.0, TRACE | MLFLOW), (0.0, 1.0, MLFLOW),
     (0.0, 0.0, 0)],
)  # fmt: skip
def test_without_a_caller_each_share_decides_for_its_own(
    otlp: float | None, mlflow: float | None, wanted_by: int
) -> None:
    one, asked = tracer(otlp, mlflow), exchange()
    place = one.place(asked)
    assert place.wanted_by == wanted_by
    assert (len(place.predict) == 8) == bool(wanted_by & MLFLOW)
    assert one.place(asked) is place
    assert one.contexts([asked]) == ([place.trace_id + place.predict] if wanted_by & MLFLOW else [])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_caller_has_decided_whatever_the_shares_are(share: float) -> None:
    one = tracer(share, share)
    place = one.place(exchange("01"))
    assert (place.trace_id.hex(), place.parent.hex(), place.state) == (TRACE_ID, SPAN_ID, b"a=b")
    assert place.wanted_by == TRACE | MLFLOW
    assert one.place(exchange("00")) is NOWHERE


def test_what_is_no_prediction_is_not_traced() -> None:
    assert tracer(1.0, 1.0).place(exchange("01", Want.HEALTH)) is NOWHERE


def test_those_that_mlflow_gets_are_about_as_many_as_its_share_and_among_the_collector_s() -> None:
    one = tracer(0.5, 0.25)
    wanted = [one.place(exchange()).wanted_by for _ in range(2000)]
    assert 350 < sum(bool(bits & MLFLOW) for bits in wanted) < 650
    assert not any(bits == MLFLOW for bits in wanted)
