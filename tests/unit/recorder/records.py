"""Records as gateways send them."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.core.protocol.records import PREDICTION, TRACE, Record, Trace
from headrace_worker import wire


def record(number: int = 0, **changes: Any) -> Record:
    """A record of a usual request; the keyword arguments change it."""
    one = Record(
        wanted_by=PREDICTION,
        arrived_s=1_700_000_000.0 + number,
        request_id=b"r-%d" % number,
        method=b"POST",
        path=b"/invocations",
        route="invocations",
        model="topic",
        version="topic/1",
        status=200,
        error="",
        model_error=False,
        rows=1,
        bytes_in=10,
        bytes_out=20,
        queue_s=0.001,
        worker_s=0.009,
        total_s=0.01,
        frame=1,
        batch_requests=2,
        parse_us=100,
        predict_us=5000,
        serialise_us=50,
        cache=b"",
        client=b"127.0.0.1",
        http10=False,
        host=b"localhost:5001",
        head=wire.head(b"application/json"),
        request=b'{"instances": ["text %d"]}' % number,
        answer=b'{"predictions": ["a"]}',
        trace=None,
    )
    return msgspec.structs.replace(one, **changes)


def traced(number: int, **changes: Any) -> Record:
    """A record of a request whose trace begins with it."""
    trace = Trace(bytes([number + 1]) * 16, bytes([number + 1]) * 8)
    return record(number, **{"wanted_by": TRACE, "trace": trace, **changes})
