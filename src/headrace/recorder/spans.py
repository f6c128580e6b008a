"""Traces: from records to OpenTelemetry spans, whoever is to get them.

A traced request is four spans: the request itself (kind SERVER), and below it `queue`, `batch` and, in that, `predict`.
Each of a batch's requests has a `batch` span of its own, linked with the traced requests that it travelled with.
The worker tells how long `predict` took, not when: it is drawn as ending where serialising began. What a model traces
by itself is below `predict`, which has an id of its own for that.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from headrace import __version__
from headrace.core.protocol.records import CLIENT_CLOSED, ModelSpans, Record, Trace

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("headrace", __version__)
_MAX_LINKS = 128
_PORT = re.compile(r"[0-9]{1,5}")


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
        inner = _predicting(context, trace)
        made.append(_span("predict", inner, batched, begun_ns, max(begun_ns, done_ns), resource))
    elif trace.predict and record.worker_s > 0.0:  # a stream, or a request that its worker has not answered
        made.append(_span("predict", _predicting(context, trace), context, min(sent_ns, end_ns), end_ns, resource))
    return made


def model_spans(given: ModelSpans, told: dict[str, Any], resource: Resource) -> Iterator[ReadableSpan]:
    """What a model has traced, for each of the requests that it was traced for; `told` is the worker's.

    Raises what odd data raises: it comes from a model's process.
    """
    first = given.contexts[0][16:]
    for context in given.contexts:
        trace_id = context[:16]
        for one in told["spans"]:
            above = bytes.fromhex(one["parent"])
            parent = context[16:] if above == first or len(above) != 8 else above
            yield ReadableSpan(
                name=str(one["name"]),
                context=_make_context(trace_id, bytes.fromhex(one["span"]), TraceState()),
                parent=_make_context(trace_id, parent, TraceState()),
                resource=resource,
                attributes=_attributes(one["attributes"]),
                events=[Event(str(e["name"]), _attributes(e["attributes"]), int(e["at_ns"])) for e in one["events"]],
                kind=SpanKind.INTERNAL,
                status=_told_status(one),
                start_time=int(one["begin_ns"]),
                end_time=int(one["end_ns"]),
                instrumentation_scope=_SCOPE,
            )


def _told_status(one: dict[str, Any]) -> Status:
    code = StatusCode(one["status"])
    return Status(code, str(one["description"]) or None if code is StatusCode.ERROR else None)


def _attributes(given: dict[str, Any]) -> dict[str, AttributeValue]:
    """Attributes as OpenTelemetry takes them: what is none of its types as JSON."""
    return {
        str(name): value if isinstance(value, str | bool | int | float) else json.dumps(value)
        for name, value in given.items()
    }


def _predicting(context: SpanContext, trace: Trace) -> SpanContext:
    """The context of the span `predict`."""
    return _make_context_like(context, trace.predict) if trace.predict else _child(context)


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


def _child(of: SpanContext) -> SpanContext:
    return _make_context_like(of, os.urandom(8))


def _make_context_like(of: SpanContext, span_id: bytes) -> SpanContext:
    return SpanContext(of.trace_id, int.from_bytes(span_id), is_remote=False, trace_flags=_SAMPLED,
                       trace_state=of.trace_state)  # fmt: skip
