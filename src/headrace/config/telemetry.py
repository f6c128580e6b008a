"""The section `telemetry:` of the tree: what headrace sends elsewhere by itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.config.section import Section


class Otlp(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`telemetry.otlp:` send traces to an OpenTelemetry collector, by OTLP over HTTP. Needs the extra `otel`.

    `endpoint` (None: OTEL_EXPORTER_OTLP_ENDPOINT) is its base URL. `sample` (None: OTEL_TRACES_SAMPLER, else 0.01) is
    the share of requests that are traced; where a request names its caller's span, the caller has decided.
    """

    endpoint: Annotated[str, Meta(pattern="^https?://")] | None = None
    sample: Annotated[float, Meta(ge=0, le=1)] | None = None


class MlflowTraces(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`telemetry.mlflow_traces:` keep traces, with what models trace, in an experiment of the tracking server.

    `experiment` is its name; it is made where there is none. `sample` is the share of requests that are traced; where a
    request names its caller's span, the caller has decided. The server is `registry.tracking_uri`.
    """

    experiment: Annotated[str, Meta(min_length=1, max_length=500)]
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Telemetry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`telemetry:` what is sent elsewhere by itself; None: nothing."""

    otlp: Otlp | None = None
    mlflow_traces: MlflowTraces | None = None
