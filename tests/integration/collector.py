"""An OpenTelemetry collector for tests: takes OTLP over HTTP and keeps the spans, decoded."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Span(NamedTuple):
    """A span as it came. Ids are hexadecimal; `parent` is empty for the first of a trace."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    state: str
    kind: int
    status: int
    begin_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[str]
    service: str


class Collector:
    """`spans` is everything that came so far; `url` the endpoint; `status` what it answers."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces" and collector.status == 200:
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status if self.path == "/v1/traces" else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of one export."""
        for of_resource in request.resource_spans:
            about = {a.key: a.value.string_value for a in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.trace_state,
                            span.kind,
                            span.status.code,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
                            [link.span_id.hex() for link in span.links],
                            about["service.name"],
                        )
                    )

    def of(self, request_id: str) -> Span | None:
        """The span of the request with this id."""
        found = (s for s in list(self.spans) if s.attributes.get("headrace.request_id") == request_id)
        return next(found, None)

    def below(self, parent: Span) -> dict[str, Span]:
        """The children of a span, by name."""
        return {s.name: s for s in list(self.spans) if s.parent == parent.span_id and s.trace_id == parent.trace_id}
