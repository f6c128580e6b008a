"""Messages of gateways to the recorder about finished requests, and messages between recorder and supervisor.

Gateways know everything about a request and may spend a microsecond or two on telling it; the recorder, a process of
its own, does all that takes longer: lines, files, exports. Framing as everywhere (`core.protocol.framing`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headrace.core.protocol.liveness import Ping, Pong

ACCESS = 1
SLOW = 2
PREDICTION = 4
TRACE = 8
MLFLOW = 16
"""Who wants a record: bits of `Record.wanted_by`."""

LOGS = {ACCESS: "access", PREDICTION: "prediction", TRACE: "trace", MLFLOW: "mlflow_trace"}
"""What a record is counted as (`headrace_records_total`); a line of the slow log counts as the access log's."""

CLIENT_CLOSED = 499
"""The status in a record of a request whose client left before the answer (nginx's; it is never sent)."""


class Trace(msgspec.Struct, frozen=True, array_like=True):
    """A request's place in a trace; `parent` is empty where the trace begins with it.

    `predict` is the id of the span that what the model traces is below; empty: nothing is.
    """

    trace_id: bytes
    span_id: bytes
    parent: bytes = b""
    state: bytes = b""
    predict: bytes = b""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One request that is over. Gateways send it as a plain tuple in this order: making this object costs them more.

    `arrived_s` is Unix time. `queue_s`, `worker_s` and `total_s` are durations; `parse_us`, `predict_us` and
    `serialise_us` are those of the whole frame `frame` (0: it met no worker) of `batch_requests` requests. `error` is
    the code of an error that the gateway itself reported. `head` is the wire's; `request` and `answer` are bodies, for
    the prediction log only, None where they are too large or streamed.
    """

    wanted_by: int
    arrived_s: float
    request_id: bytes
    method: bytes
    path: bytes
    route: str
    model: str | None
    version: str
    status: int
    error: str
    model_error: bool
    rows: int
    bytes_in: int
    bytes_out: int
    queue_s: float
    worker_s: float
    total_s: float
    frame: int
    batch_requests: int
    parse_us: int
    predict_us: int
    serialise_us: int
    cache: bytes
    client: bytes
    http10: bool
    host: bytes
    head: bytes
    request: bytes | None
    answer: bytes | None
    trace: Trace | None


class ModelSpans(msgspec.Struct, frozen=True, array_like=True):
    """What a model has traced in one frame: `told` is the worker's JSON, see `headrace_worker.scoring.tracing`.

    `contexts` are the traced requests of the frame, each as its trace's id and that of its span `predict`. The spans
    are made for the first.
    """

    contexts: list[bytes]
    told: bytes

    @property
    def size_bytes(self) -> int:
        """The approximate size in memory."""
        return 256 + len(self.told)


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway sends at a time. `lost`: how many it had to drop since the last, by log."""

    lost: dict[str, int]
    records: list[Record]
    spans: list[ModelSpans] = []


class PredictionLog(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how one model's requests and answers are kept; `keep` None: every file. Durations in seconds.

    `max_body_bytes` is of a body as it is kept; gateways know only how large a compressed one is as it comes.
    """

    directory: str
    format: Literal["jsonl", "parquet"] = "jsonl"
    max_body_bytes: int = 65_536
    max_file_bytes: int = 64 * 1024 * 1024
    max_file_age_s: float = 3600.0
    keep: int | None = 24
    redact: tuple[str, ...] = ()


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """An assessment of an answer of `model`; either `trace_id` or `request_id` identifies it."""

    model: str
    trace_id: str | None = None
    request_id: str | None = None
    name: str
    value: Any
    source_type: str
    source_id: str
    comment: str | None = None


class FeedbackDone(msgspec.Struct, frozen=True):
    """MLflow has stored the feedback; or the `code` of an error, and why not."""

    code: str = ""
    message: str = ""
    trace_id: str = ""
    assessment_id: str = ""


def feedback_socket(recorder: str) -> str:
    """Where a recorder whose socket is `recorder` takes feedback, one a connection."""
    return f"{recorder}.feedback"


class MlflowTraces(msgspec.Struct, frozen=True, kw_only=True):
    """Where traces go: an experiment, made where there is none of this name, of a tracking server or store.

    `tracking_uri` None: what MLFLOW_TRACKING_URI says.
    """

    experiment: str
    tracking_uri: str | None = None


class Open(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first message to the recorder. `predictions` "*" stands for the models that a wildcard brings.

    `log_fd` is where lines go, `text` whether for people. `otlp_endpoint` None: what OTEL_* says; `traces` False: none.
    `mlflow` None: no traces go to MLflow.
    `lifeline_fd`: it ends at once when the other end is closed, and outlives the supervisor for as long as gateways are
    connected. None: it does not.
    """

    socket: str
    log_fd: int
    text: bool
    predictions: dict[str, PredictionLog] = {}
    traces: bool = False
    otlp_endpoint: str | None = None
    mlflow: MlflowTraces | None = None
    lifeline_fd: int | None = None


class AskSamples(msgspec.Struct, frozen=True, tag=True):
    """Answer with `Samples` now."""

    token: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The gateways have ended: write what is there and end with exit code 0."""


class Samples(msgspec.Struct, frozen=True, tag=True):
    """What this recorder has counted since its start."""

    token: int
    values: list[tuple[str, tuple[tuple[str, str], ...], float]]


class Told(msgspec.Struct, frozen=True, tag=True):
    """An event for the log."""

    level: Literal["info", "warning", "error"]
    event: str
    fields: dict[str, str | int | float | None]


ToRecorder = Open | AskSamples | Ping | Finish
FromRecorder = Samples | Pong | Told
