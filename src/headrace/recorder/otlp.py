"""Traces for an OpenTelemetry collector, by OTLP over HTTP. Needs the extra `otel`.

Exported is in batches and in the sink's own thread: so what went out and what did not is known and counted, request by
request, which the SDK's batch processor would not tell.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind

from headrace import __version__
from headrace.core.protocol.records import Record
from headrace.recorder.spans import spans

_TRACES_PATH = "/v1/traces"


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


def _setting(name: str, otherwise: int) -> int:
    """A positive number of the environment. OpenTelemetry asks that what is none be as good as not there."""
    with contextlib.suppress(ValueError):
        value = int(os.environ.get(name, ""))
        if value > 0:
            return value
    return otherwise
