"""What a model traces with MLflow: collected a frame at a time, for the process that sends it to the tracking server.

A worker has no credentials of that server, and must not wait for it. So the spans of a request that is traced go back
to the gateway, behind its answer, and those of other requests are not made at all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Tuple  # noqa: UP035 - runs on Python 3.8

from headrace_worker import traces

MOST_SPANS = 1000
MOST_BYTES = 1024 * 1024
"""What is kept of one frame; spans above that are counted instead."""

MOST_ATTRIBUTE_CHARACTERS = 65_536
_MOST_TAGS = 64
_OURS = "mlflow.trace.schema", "mlflow.source", "mlflow.user", "mlflow.trace.info"

_logger = logging.getLogger(__name__)

Key = Tuple[int, int]  # noqa: UP006


class Untraced:
    """A frame none of whose requests is traced."""

    def here(self) -> ContextManager[None]:
        """What is done within belongs to it."""
        return contextlib.nullcontext()

    def told(self, number: int) -> bytes:  # noqa: ARG002 - as `Traced` has it
        """The wire's frame with its spans, once and at its end; empty: there is none."""
        return b""


UNTRACED = Untraced()


class Traced(Untraced):
    """A frame of a request that is traced: `context` has its trace's id, and that of the span it is predicted in."""

    def __init__(self, tracer: Tracer, context: bytes) -> None:
        self.trace_id = int.from_bytes(context[:16], "big")
        self.parent_id = int.from_bytes(context[16:24], "big")
        self.keys: List[Key] = [(self.trace_id, self.parent_id)]  # noqa: UP006
        self._tracer = tracer
        self._spans: List[Dict[str, Any]] = []  # noqa: UP006
        self._lock = threading.Lock()
        self._bytes = 0
        self._lost = 0

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """What the model traces within belongs below the request's span."""
        with self._tracer.within(self):
            yield

    def add(self, span: Any) -> None:
        """A span has ended; in any thread."""
        with self._lock:
            if len(self._spans) >= MOST_SPANS:
                self._lost += 1
                return
            made = _plain(span)
            size_bytes = 256 + sum(len(str(value)) for value in made["attributes"].values()) + len(made["events"]) * 256
            if self._bytes + size_bytes > MOST_BYTES:
                self._lost += 1
                return
            self._bytes += size_bytes
            self._spans.append(made)

    def told(self, number: int) -> bytes:
        """See `Untraced`."""
        labels = self._tracer.end(self)
        with self._lock:
            told = {"spans": self._spans, "lost": self._lost, **labels}
            self._spans = []
        try:
            payload = json.dumps(told, default=str).encode()
        except (TypeError, ValueError, RecursionError):
            payload = json.dumps({"spans": [], "lost": self._lost + len(told["spans"])}).encode()
        return traces.encode_spans(number, payload)


class Tracer:
    """This process's, and MLflow's tracing as it is in the model's environment."""

    def __init__(self) -> None:
        self.is_collecting = False
        self._owners: Dict[Key, Traced] = {}  # noqa: UP006
        self._open: Dict[int, int] = {}  # noqa: UP006
        self._lock = threading.Lock()

    def install(self, *, collect: bool) -> None:
        """Before a model is loaded: collect what it traces, or else see that it leaves no files of traces about.

        MLflow makes a database in the current directory for a model that traces, where nobody has said where to.
        """
        if collect and _can_collect():
            self._collect()
        elif not _has_destination():
            with contextlib.suppress(Exception):
                import mlflow

                mlflow.tracing.disable()

    def loaded(self) -> None:
        """The model is loaded: it may have said by itself where its traces are to go."""
        with contextlib.suppress(Exception):
            import mlflow

            if not self.is_collecting and not _has_destination() and mlflow.tracking.is_tracking_uri_set():  # type: ignore[no-untyped-call]
                mlflow.tracing.enable()

    def begin(self, context: Optional[bytes]) -> Untraced:  # noqa: UP045
        """What a frame with this context is to be worked on in; None: none of its requests is traced."""
        if context is None:
            return UNTRACED
        traced = Traced(self, context)
        if self.is_collecting:
            with self._lock:
                self._owners[traced.keys[0]] = traced
                self._open[traced.trace_id] = self._open.get(traced.trace_id, 0) + 1
                if self._open[traced.trace_id] == 1:
                    self._register(traced.trace_id)
        return traced

    def end(self, traced: Traced) -> Dict[str, Any]:  # noqa: UP006
        """Nothing is added to `traced` any more. Returns the tags and metadata that the model gave its trace."""
        with self._lock:
            if self._owners.pop(traced.keys[0], None) is None:
                return {}
            for key in traced.keys:
                self._owners.pop(key, None)
            self._open[traced.trace_id] -= 1
            is_last = not self._open[traced.trace_id]
            if is_last:
                del self._open[traced.trace_id]
            return self._labels(traced.trace_id, pop=is_last)

    @contextlib.contextmanager
    def within(self, traced: Traced) -> Iterator[None]:
        """Spans that begin here without a parent begin below the frame's."""
        if not self.is_collecting:
            yield
            return
        from opentelemetry import trace
        from opentelemetry.context import Context

        where = trace.SpanContext(traced.trace_id, traced.parent_id, True, trace.TraceFlags(1))
        contexts = _contexts()
        token = contexts.attach(trace.set_span_in_context(trace.NonRecordingSpan(where), Context()))
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # the model has left another context behind
                contexts.detach(token)

    # What OpenTelemetry's SDK asks of a processor of spans.

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002 - OpenTelemetry's signature
        """A span has begun."""
        parent = span.parent
        if parent is None:
            return
        with self._lock:
            traced = self._owners.get((parent.trace_id, parent.span_id))
            if traced is None or len(traced.keys) > 4 * MOST_SPANS:
                return
            key = (span.context.trace_id, span.context.span_id)
            self._owners[key] = traced
            traced.keys.append(key)
        from mlflow.entities.span import create_mlflow_span

        live = create_mlflow_span(span, _mlflow_id(span.context.trace_id))
        _manager().register_span(live)

    def on_end(self, span: Any) -> None:
        """A span has ended."""
        with self._lock:
            traced = self._owners.get((span.context.trace_id, span.context.span_id))
        if traced is not None:
            traced.add(span)

    def _on_ending(self, span: Any) -> None:
        """OpenTelemetry's own."""

    def shutdown(self) -> None:
        """There is nothing to end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - OpenTelemetry's signature
        """There is nothing that waits."""
        return True

    # Inside.

    def _collect(self) -> None:
        """Have MLflow give its spans to us, whatever a model says of where they are to go; and only traced ones."""
        from mlflow.tracing import provider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

        provider._get_span_processors = self._processors  # noqa: SLF001
        provider._get_trace_sampler = lambda: ParentBased(root=ALWAYS_OFF)  # noqa: SLF001
        self.is_collecting = True

    def _processors(self, disabled: bool = False) -> Any:  # noqa: FBT001, FBT002 - MLflow's signature
        return [] if disabled else [self]

    def _register(self, trace_id: int) -> None:
        """MLflow looks up the trace that a span belongs to: let it find one."""
        from mlflow.entities import TraceInfo
        from mlflow.entities.trace_state import TraceState

        made: Any = TraceInfo
        info = made(trace_id=_mlflow_id(trace_id), trace_location=None, request_time=None, state=TraceState.IN_PROGRESS)
        _manager().register_trace(trace_id, info, is_remote_trace=True)

    def _labels(self, trace_id: int, *, pop: bool) -> Dict[str, Any]:  # noqa: UP006
        manager = _manager()
        with manager.get_trace(_mlflow_id(trace_id)) as there:
            info = there.info if there is not None else None
            labels = {"tags": _some(info and info.tags), "metadata": _some(info and info.trace_metadata)}
        if pop:
            with contextlib.suppress(Exception):
                manager.pop_trace(trace_id)
        return labels


def _can_collect() -> bool:
    """Whether the model's MLflow has what `Tracer` needs of it."""
    try:
        import inspect

        from mlflow.entities.span import create_mlflow_span  # noqa: F401
        from mlflow.tracing import provider
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        there = hasattr(provider, "_get_span_processors") and hasattr(provider, "_get_trace_sampler")
        takes = inspect.signature(InMemoryTraceManager.register_trace).parameters
    except Exception:  # noqa: BLE001 - an MLflow without tracing
        there, takes = False, {}  # type: ignore[assignment]
    if there and "is_remote_trace" in takes:
        return True
    _logger.warning("what this model traces is not collected: its MLflow is too old (3.9 or later has what it needs)")
    return False


def _has_destination() -> bool:
    """Whether the environment says where MLflow's traces are to go."""
    names = ("MLFLOW_TRACKING_URI", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def _contexts() -> Any:
    """Where MLflow keeps the span that is under way: a place of its own, or OpenTelemetry's."""
    from mlflow.tracing import provider
    from opentelemetry import context

    find = getattr(provider, "get_context_api", None)
    return find() if find is not None else context


def _manager() -> Any:
    """Where MLflow looks up traces and spans that are under way."""
    from mlflow.tracing.trace_manager import InMemoryTraceManager

    manager: Any = InMemoryTraceManager
    return manager.get_instance()


def _mlflow_id(trace_id: int) -> str:
    return f"tr-{trace_id:032x}"


def _plain(span: Any) -> Dict[str, Any]:  # noqa: UP006
    """A span as data; times in nanoseconds since 1970, ids in hexadecimal."""
    return {
        "name": str(span.name)[:1024],
        "span": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent is not None else "",
        "begin_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.value,
        "description": str(span.status.description or "")[:1024],
        "attributes": {str(name)[:256]: _short(value) for name, value in (span.attributes or {}).items()},
        "events": [
            {
                "name": str(event.name)[:256],
                "at_ns": event.timestamp,
                "attributes": {str(name)[:256]: _short(value) for name, value in (event.attributes or {}).items()},
            }
            for event in list(span.events)[:32]
        ],
    }


def _short(value: Any) -> Any:
    """An attribute's value; of a long one the beginning. MLflow's are JSON, and must be JSON afterwards."""
    if not isinstance(value, str):
        return list(value)[:1024] if isinstance(value, (list, tuple)) else value
    if len(value) <= MOST_ATTRIBUTE_CHARACTERS:
        return value
    return json.dumps(f"{value[:MOST_ATTRIBUTE_CHARACTERS]}... (cut: {len(value)} characters in all)")


def _some(labels: Any) -> Dict[str, str]:  # noqa: UP006
    """The labels of a trace that are the model's own."""
    chosen = [(name, value) for name, value in (labels or {}).items() if not str(name).startswith(_OURS)]
    return {str(name)[:250]: str(value)[:4096] for name, value in chosen[:_MOST_TAGS]}


TRACER = Tracer()
"""This process's: a worker has one model."""
