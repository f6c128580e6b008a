"""Traces: from records to OpenTelemetry spans, exported by OTLP over HTTP. Needs the extra `otel`.

A traced request is four spans: the request itself (kind SERVER), and below it `queue`, `batch` and, in that, `predict`.
Each of a batch's requests has a `batch` span of its own, linked with the traced requests that it travelled with.
The worker tells how long `predict` took, not when: it is drawn as ending where serialising began.

Exported is in batches and in the sink's own thread: so what went out and what did not is known and counted, request by
request, which the SDK's batch processor would not tell.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from headrace import __version__
from headrace.core.protocol.records import CLIENT_CLOSED, Record, Trace

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("headrace", __version__)
_MAX_LINKS = 128
_TRACES_PATH = "/v1/traces"
_PORT = re.compile(r"[0-9]{1,5}")


class SpanWriter:
    """Turns records into spans and exports them. `endpoint` None: what OTEL_EXPORTER_OTLP_* says.

    Raises whatever OpenTelemetry does where it cannot follow its variables: RuntimeError for a provider of credentials
    that is not installed, say.
    """

    def __init__(self, endpoint: str | None, tell: Callable[..., None]) -> None:
        # What goes wrong is told once in the log's own form; the exporter's own lines would come every few seconds.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        url = None if endpoint is None else endpoint.rstrip("/").removesuffix(_TRACES_PATH) + _TRACES_PATH
        named = "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or "OTEL_SERVICE_NAME" in os.environ
        about = (
            {"service.version": __version__} if named else {"service.name": "headrace", "service.version": __version__}
        )
        self._resource = Resource.create(about)
        self._exporter = OTLPSpanExporter(endpoint=url)
        self._tell = tell
        self._failing = False
        self._spans: list[ReadableSpan] = []
        self._due_s = 0.0
        self._delay_s = _setting("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._most = _setting("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)

    @property
    def held(self) -> int:
        """See `Writer`."""
        return sum(span.kind is SpanKind.SERVER for span in self._spans)

    def write(self, records: list[Record]) -> int:
        """See `Writer`."""
        if not self._spans:
            self._due_s = time.monotonic() + self._delay_s
        self._spans += spans(records, self._resource)
        return self._export() if len(self._spans) >= self._most else 0

    def tick(self) -> int:
        """See `Writer`."""
        return self._export() if self._spans and time.monotonic() >= self._due_s else 0

    def close(self) -> int:
        """See `Writer`."""
        exported = self._export()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        return exported

    def _export(self) -> int:
        """Export all that is held; returns how many requests' spans went out."""
        made, self._spans = self._spans, []
        exported = 0
        for begin in range(0, len(made), self._most):
            part = made[begin : begin + self._most]
            failing = self._exporter.export(part) is not SpanExportResult.SUCCESS
            if failing and not self._failing:
                self._tell("warning", "traces not exported", spans=len(part), kept="all serving")
            elif self._failing and not failing:
                self._tell("info", "traces exported again")
            self._failing = failing
            if not failing:
                exported += sum(span.kind is SpanKind.SERVER for span in part)
        return exported


def spans(records: Sequence[Record], resource: Resource) -> list[ReadableSpan]:
    """The spans of the traced requests among `records`, which hold all of a batch that were told together."""
    frames: dict[tuple[str, int], list[SpanContext]] = defaultdict(list)
    for record in records:
        if record.trace is not None and record.frame:
            frames[record.version, record.frame].append(_context(record.trace))
    made: list[ReadableSpan] = []
    for record in records:
        if record.trace is not None:
            others = frames.get((record.version, record.frame), [])
            made += _of_request(record, record.trace, others, resource)
    return made


def _of_request(record: Record, trace: Trace, batch: list[SpanContext], resource: Resource) -> list[ReadableSpan]:
    context = _context(trace)
    begin_ns = int(record.arrived_s * 1e9)
    sent_ns = begin_ns + int(record.queue_s * 1e9)
    end_ns = begin_ns + int(record.total_s * 1e9)
    parent = None
    if trace.parent:
        parent = _make_context(trace.trace_id, trace.parent, context.trace_state, remote=True)
    route = "/models/{name}/invocations" if record.path.startswith(b"/models/") else "/invocations"
    made = [
        _span(f"POST {route}", context, parent, begin_ns, end_ns, resource, SpanKind.SERVER,
              _http_attributes(record, route), status=_status(record)),
    ]  # fmt: skip
    if record.version and record.queue_s > 0.0:
        made.append(_span("queue", _child(context), context, begin_ns, min(sent_ns, end_ns), resource))
    if record.frame:
        batched = _child(context)
        links = [Link(other) for other in batch if other.span_id != context.span_id][:_MAX_LINKS]
        about: dict[str, AttributeValue] = {"headrace.batch.requests": record.batch_requests}
        made.append(_span("batch", batched, context, sent_ns, end_ns, resource, attributes=about, links=links))
        done_ns = end_ns - record.serialise_us * 1000
        begun_ns = max(sent_ns, done_ns - record.predict_us * 1000)
        made.append(_span("predict", _child(context), batched, begun_ns, max(begun_ns, done_ns), resource))
    return made


def _http_attributes(record: Record, route: str) -> dict[str, AttributeValue]:
    """OpenTelemetry's semantic conventions for HTTP servers, and what is headrace's own."""
    host, _, port = record.host.decode("latin-1").rpartition(":")
    if not host or not _PORT.fullmatch(port):
        host, port = record.host.decode("latin-1"), ""
    about: dict[str, AttributeValue | None] = {
        "http.request.method": record.method.decode("latin-1"),
        "http.route": route,
        "http.response.status_code": record.status if record.status != CLIENT_CLOSED else None,
        "http.request.body.size": record.bytes_in,
        "http.response.body.size": record.bytes_out,
        "url.scheme": "http",
        "url.path": record.path.decode("utf-8", "backslashreplace"),
        "network.protocol.version": "1.0" if record.http10 else "1.1",
        "client.address": record.client.decode() or None,
        "server.address": host or None,
        "server.port": int(port) if port else None,
        "error.type": _error_type(record),
        "headrace.model": record.model,
        "headrace.version": record.version or None,
        "headrace.request_id": record.request_id.decode("ascii", "backslashreplace") or None,
        "headrace.rows": record.rows,
        "headrace.cache": record.cache.decode() or None,
    }
    return {name: value for name, value in about.items() if value is not None}


def _error_type(record: Record) -> str | None:
    if record.status == CLIENT_CLOSED:
        return "client_closed"
    if record.status >= 500:
        return record.error or str(record.status)
    return None


def _status(record: Record) -> Status:
    """A server's span is in error for its own faults only (the conventions: 5xx, not 4xx)."""
    return Status(StatusCode.ERROR) if record.status >= 500 else Status(StatusCode.UNSET)


def _span(
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    begin_ns: int,
    end_ns: int,
    resource: Resource,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: dict[str, Any] | None = None,
    links: Sequence[Link] = (),
    status: Status | None = None,
) -> ReadableSpan:
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes or {},
        links=links,
        kind=kind,
        status=status or Status(StatusCode.UNSET),
        start_time=begin_ns,
        end_time=max(begin_ns, end_ns),
        instrumentation_scope=_SCOPE,
    )


def _context(trace: Trace) -> SpanContext:
    state = TraceState.from_header([trace.state.decode("latin-1")]) if trace.state else TraceState()
    return _make_context(trace.trace_id, trace.span_id, state)


def _make_context(trace_id: bytes, span_id: bytes, state: TraceState, *, remote: bool = False) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), remote, _SAMPLED, state)


def _setting(name: str, otherwise: int) -> int:
    """A positive number of the environment. OpenTelemetry asks that what is none be as good as not there."""
    with contextlib.suppress(ValueError):
        value = int(os.environ.get(name, ""))
        if value > 0:
            return value
    return otherwise


def _child(of: SpanContext) -> SpanContext:
    return SpanContext(of.trace_id, int.from_bytes(os.urandom(8)), is_remote=False, trace_flags=_SAMPLED,
                       trace_state=of.trace_state)  # fmt: skip
