"""Traces for MLflow: a request's own spans and what its model has traced, written down as one trace.

What waits for the server is bounded in bytes: while it is away the newest is given up, and counted. It is asked again
after 1 s, 2 s and so on up to 30 s.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from opentelemetry.sdk.resources import Resource

from headrace.core.protocol.records import CLIENT_CLOSED, ModelSpans, Record
from headrace.recorder.mlflow_store import MODEL, REQUEST, REQUEST_ID, VERSION, is_refused, line
from headrace.recorder.spans import model_spans, spans

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo
    from opentelemetry.sdk.trace import ReadableSpan

_DELAY_S = 0.5
_MOST_AT_A_TIME = 64
_FIRST_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0
_MOST_BYTES = 32 * 1024 * 1024
_RECORD_BYTES = 4096
_MOST_PREVIEW = 1000
_TYPE = "mlflow.spanType"
_INPUTS, _OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"


class Store(Protocol):
    """Where traces go; everything raises what MLflow raises."""

    def experiment_id(self) -> str:
        """The id of the experiment."""

    def put(self, infos: Sequence[TraceInfo], spans: Sequence[ReadableSpan]) -> None:
        """Write down spans, and what is known of their traces as a whole."""


class MlflowWriter:
    """A sink's writer. `take_spans` is called by another thread than the rest.

    `spans` counts those of models: `written`, `failed` (the server refused them, or they were odd), `dropped` (there
    was no room here) and `cut` (there was none in the worker).
    """

    def __init__(self, store: Store, tell: Callable[..., None], *, most_bytes: int = _MOST_BYTES) -> None:
        self.spans = dict.fromkeys(("written", "failed", "dropped", "cut"), 0)
        self._store = store
        self._tell = tell
        self._most_bytes = most_bytes
        self._resource = Resource({})
        self._records: list[Record] = []
        self._models: list[ModelSpans] = []
        self._models_bytes = 0
        self._lock = threading.Lock()
        self._due_s = float("inf")
        self._pause_s = 0.0

    @property
    def held(self) -> int:
        """See `sink.Writer`."""
        return len(self._records)

    @property
    def is_away(self) -> bool:
        """Whether the server did not take what it was last given."""
        return self._pause_s > 0

    def take_spans(self, given: Iterable[ModelSpans]) -> None:
        """Hold what models have traced, as far as there is room."""
        with self._lock:
            for one in given:
                if self._models_bytes + one.size_bytes > self._most_bytes:
                    self.spans["dropped"] += 1
                    continue
                self._models.append(one)
                self._models_bytes += one.size_bytes
            self._due_s = min(self._due_s, time.monotonic() + max(_DELAY_S, self._pause_s))

    def write(self, records: list[Record]) -> int:
        """See `sink.Writer`."""
        room = max(0, self._most_bytes // _RECORD_BYTES - len(self._records))
        self._records += records[:room]  # what is not held and not written has failed, as the sink counts
        with self._lock:
            self._due_s = min(self._due_s, time.monotonic() + max(_DELAY_S, self._pause_s))
        return 0

    def tick(self) -> int:
        """See `sink.Writer`."""
        return self._export() if time.monotonic() >= self._due_s else 0

    def close(self) -> int:
        """See `sink.Writer`."""
        return self._export()

    def _export(self) -> int:
        """Write down what is held; what the server does not take now is held on. Returns how many requests went out."""
        with self._lock:
            models, self._models, self._models_bytes = self._models, [], 0
            self._due_s = float("inf")
        held, self._records = self._records, []
        told = [(one, self._read(one)) for one in models]
        written = 0
        while held or told:
            part, held = held[:_MOST_AT_A_TIME], held[_MOST_AT_A_TIME:]
            ids = {record.trace.trace_id for record in part if record.trace is not None}
            if held:
                now = [pair for pair in told if any(context[:16] in ids for context in pair[0].contexts)]
                told = [pair for pair in told if not any(context[:16] in ids for context in pair[0].contexts)]
            else:
                now, told = told, []
            try:
                self._send(part, now)
            except Exception as error:  # noqa: BLE001 - MLflow's client raises whatever its transport does
                if not is_refused(error):
                    self._postpone(error, [*part, *held], [one for one, _ in (*now, *told)])
                    return written
                told_as = {"requests": len(part), "reason": line(error), "kept": "all serving"}
                self._tell("warning", "traces refused by MLflow", **told_as)
                self.spans["failed"] += sum(len(one["spans"]) for _, one in now)
            else:
                written += len(part)
                self.spans["written"] += sum(len(one["spans"]) for _, one in now)
                if self._pause_s:
                    self._tell("info", "traces are kept by MLflow again")
                self._pause_s = 0.0
            self.spans["cut"] += sum(int(one["lost"]) for _, one in now)
        return written

    def _postpone(self, error: Exception, records: list[Record], models: list[ModelSpans]) -> None:
        if not self._pause_s:
            kept = "all serving, traces while there is room"
            self._tell("warning", "traces not kept by MLflow", reason=line(error), kept=kept)
        self._pause_s = min(_MOST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)
        self._records = records + self._records
        with self._lock:
            self._models = models + self._models
            self._models_bytes = sum(one.size_bytes for one in self._models)
            self._due_s = time.monotonic() + self._pause_s

    def _send(self, records: list[Record], models: list[tuple[ModelSpans, dict[str, Any]]]) -> None:
        made: dict[bytes, list[ReadableSpan]] = {}
        labels: dict[bytes, dict[str, Any]] = {}
        for given, told in models:
            for span in model_spans(given, told, self._resource):
                made.setdefault(span.context.trace_id.to_bytes(16), []).append(span)
            for context in given.contexts:
                labels[context[:16]] = told
        everything = spans(records, self._resource)
        names = {span.context.span_id.to_bytes(8): span.name for span in everything}
        infos = [
            self._info(record, names[trace.span_id], made.get(trace.trace_id, []), labels.get(trace.trace_id, {}))
            for record in records
            if (trace := record.trace) is not None
        ]
        everything += [span for several in made.values() for span in several]
        for span in everything:
            # MLflow's attribute for what trace a span belongs to; all of its attributes are JSON.
            own_id = json.dumps(f"tr-{span.context.trace_id:032x}")
            span._attributes = {_TYPE: '"UNKNOWN"', **(span.attributes or {}), "mlflow.traceRequestId": own_id}  # noqa: SLF001
        if everything:
            self._store.put(infos, everything)

    def _info(self, record: Record, name: str, below: list[ReadableSpan], told: dict[str, Any]) -> TraceInfo:
        """What is told of the trace of a request as a whole."""
        from mlflow.entities import TraceInfo, TraceLocation, TraceState  # noqa: PLC0415 - a slow import

        trace = record.trace
        assert trace is not None  # noqa: S101 - who calls this has looked
        request_id = record.request_id.decode("ascii", "backslashreplace")
        top = next((one for one in below if one.parent and one.parent.span_id.to_bytes(8) == trace.predict), None)
        given = top.attributes or {} if top is not None else {}
        failed = record.status >= 400 or record.model_error or bool(record.error) or record.status == CLIENT_CLOSED
        tags = dict(told.get("tags") or {})
        if trace.parent:
            tags[REQUEST + request_id] = record.model or ""
        else:
            tags[REQUEST_ID] = request_id
        tags |= {"mlflow.traceName": record.model or name, MODEL: record.model or "", VERSION: record.version}
        return TraceInfo(
            trace_id=f"tr-{trace.trace_id.hex()}",
            trace_location=TraceLocation.from_experiment_id(self._store.experiment_id()),
            request_time=int(record.arrived_s * 1000),
            execution_duration=int(record.total_s * 1000),
            state=TraceState.ERROR if failed else TraceState.OK,
            request_preview=_preview(given.get(_INPUTS)),
            response_preview=_preview(given.get(_OUTPUTS)),
            client_request_id=request_id,
            trace_metadata=dict(told.get("metadata") or {}),
            tags={name: value for name, value in tags.items() if value},
        )

    def _read(self, given: ModelSpans) -> dict[str, Any]:
        """The worker's JSON: it is a model's process, and what it says is checked before it is used."""
        try:
            told = msgspec.json.decode(given.told, type=_Told)
            made = {"spans": told.spans, "lost": told.lost, "tags": told.tags, "metadata": told.metadata}
            _check_tree(told.spans, {context[16:].hex() for context in given.contexts})
            list(model_spans(given, made, self._resource))
        except Exception:  # noqa: BLE001 - whatever odd data raises
            self.spans["failed"] += 1
            return {"spans": [], "lost": 0}
        return made


class _Told(msgspec.Struct):
    spans: list[dict[str, Any]] = []
    lost: int = 0
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}


def _check_tree(spans: list[dict[str, Any]], above: set[str]) -> None:
    """Raise ValueError where a span is, by some way, below itself: MLflow would look for its top for ever."""
    parents = {str(one["span"]): str(one["parent"]) for one in spans}
    if len(parents) != len(spans) or above & parents.keys():
        raise ValueError("spans with the same id")
    sound: set[str] = set()
    for first in list(parents):
        way: list[str] = []
        span = first
        while span in parents and span not in sound:
            if len(way) > len(parents):
                raise ValueError("a span that is below itself")
            way.append(span)
            span = parents[span]
        sound.update(way)


def _preview(value: Any) -> str | None:
    return value[:_MOST_PREVIEW] if isinstance(value, str) else None
