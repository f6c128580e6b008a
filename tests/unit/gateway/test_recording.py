"""Each field of a record has what its name says, although gateways send records as plain tuples."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import monotonic, time

import pytest

from headrace.core.protocol import framing, messages
from headrace.core.protocol.records import ACCESS, PREDICTION, SLOW, TRACE, Batch, Record
from headrace.gateway.counters import PoolCounters
from headrace.gateway.exchange import Exchange, Source
from headrace.gateway.http.connection import Connection
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want
from headrace.gateway.recording import Recording
from headrace.gateway.server import Gateway
from headrace.gateway.version import ServedVersion
from headrace_worker.wire import FLAG_MODEL_ERROR, Answer, Timing
from tests.unit.gateway.wiretap import MemoryTransport


async def recorded(directory: str) -> Record:
    """What the recorder reads of one request that waited 1 s and was worked on for 2 s, of which everything is kept."""
    path = str(Path(directory) / "s")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(hear, path)
    gateway = Gateway(asyncio.get_running_loop(), messages.Limits(), lambda _: None)
    options = messages.Recording(socket=path, access="full", slow_s=0.5, trace_sample=0.0)
    recording = Recording(asyncio.get_running_loop(), options, gateway.state.spawn)
    connection = Connection(gateway.port("m"))
    connection.connection_made(MemoryTransport())
    head = RequestHead()
    head.method, head.url, head.host, head.http10 = b"PUT", b"/invocations?q", b"host", True
    head.target, head.wire_head = Target(Want.INVOKE, "m"), b"head"
    head.watched = {b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01", b"tracestate": b"a=b"}
    now_s = monotonic()
    exchange = Exchange(connection, head, b"in", now_s - 3.0)
    exchange.sent_s = now_s - 2.0
    route = messages.Route(model="m", pool="p", prediction_log=messages.Sampling())
    pool = messages.Pool(key="p", model="m", label="m/1", mlflow_version="3", workers=())
    version = ServedVersion(pool, route, PoolCounters(), lambda _: None)
    answer = Answer(418, b"text/plain", b"out!", rows=5, flags=FLAG_MODEL_ERROR)
    recording.answered(exchange, answer, Source(version, 7, 6, Timing(11, 12, 13)), b"id", now_s, b"miss")
    await recording.finish()
    data = await asyncio.wait_for(heard.get(), 60.0)
    gateway.close()
    server.close()
    (batch,) = framing.Decoder[Batch](Batch).feed(data)
    (record,) = batch.records
    return record


def test_each_field_has_what_its_name_says() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # the path of a socket must be short
        record = asyncio.run(recorded(directory))
    assert record.wanted_by == ACCESS | SLOW | PREDICTION | TRACE
    assert record.arrived_s == pytest.approx(time() - 3.0, abs=600.0)
    assert (record.queue_s, record.worker_s, record.total_s) == pytest.approx((1.0, 2.0, 3.0))
    assert (record.request_id, record.method, record.path) == (b"id", b"PUT", b"/invocations")
    assert (record.route, record.model, record.version) == ("invocations", "m", "m/1")
    assert (record.status, record.error, record.model_error, record.rows) == (418, "", True, 5)
    assert (record.bytes_in, record.bytes_out) == (2, 4)
    assert (record.frame, record.batch_requests) == (7, 6)
    assert (record.parse_us, record.predict_us, record.serialise_us) == (11, 12, 13)
    assert (record.cache, record.client, record.http10, record.host) == (b"miss", b"", True, b"host")
    assert (record.head, record.request, record.answer) == (b"head", b"in", b"out!")
    assert record.trace is not None
    assert (record.trace.trace_id, record.trace.parent) == (b"\xab" * 16, b"\xcd" * 8)
    assert (len(record.trace.span_id), record.trace.state) == (8, b"a=b")
