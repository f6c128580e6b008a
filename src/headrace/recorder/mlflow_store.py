"""MLflow's tracking server, or store, as the recorder uses it: traces go in, and feedback on them.

Called in threads of the recorder's, never in its loop: MLflow's client blocks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.core.protocol.records import Feedback, FeedbackDone, MlflowTraces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import TraceInfo
    from opentelemetry.sdk.trace import ReadableSpan

REQUEST_ID, MODEL, VERSION = "headrace.request_id", "headrace.model", "headrace.version"
REQUEST = "headrace.request."
"""The tags of a trace. Of one that a caller has begun, which may hold several requests, one for each: REQUEST and its
id, with the model as value."""

_TIMEOUT_S = 10


_PLAIN = re.compile(r"[A-Za-z0-9_.:/ +=-]+")
_WHY_NONE = ": it was not sampled, its caller's traceparent said so, or it was not asked here."


class NoTrace(Exception):
    """There is no trace that feedback is about."""


class TraceStore:
    """`experiment_id` is looked up, or made, when it is first needed; everything raises what MLflow raises."""

    def __init__(self, options: MlflowTraces) -> None:
        self._options = options
        self._experiment_id: str | None = None
        self._client: Any = None
        self._begun: set[str] = set()

    def experiment_id(self) -> str:
        """The id of the experiment."""
        if self._experiment_id is None:
            self._experiment_id = self._find_experiment()
        return self._experiment_id

    def put(self, infos: Sequence[TraceInfo], spans: Sequence[ReadableSpan]) -> None:
        """Write down spans of any traces, and then what is known of these as a whole.

        Of a trace that its caller has written down already only that the request belongs to it.
        """
        from mlflow.entities.span import Span  # noqa: PLC0415 - a slow import

        client = self._tracing()
        self._begun |= {
            info.trace_id
            for info in infos
            if info.trace_id not in self._begun and (REQUEST_ID in info.tags or not self._is_there(info.trace_id))
        }
        # In this order: whoever looks a trace up that has no spans yet is sent to look for them elsewhere.
        client.log_spans(self.experiment_id(), [Span(span) for span in spans])
        for info in infos:
            if info.trace_id in self._begun:
                client.start_trace(info)
                self._begun.discard(info.trace_id)
                continue
            for name, value in info.tags.items():
                if name.startswith(REQUEST):
                    client.set_trace_tag(info.trace_id, name, value)

    def feedback(self, given: Feedback) -> FeedbackDone:
        """Put an assessment on the trace that it is about; raises NoTrace."""
        import mlflow  # noqa: PLC0415 - a slow import
        from mlflow.entities import AssessmentSource  # noqa: PLC0415

        self._tracing()
        about = {MODEL: given.model, **({REQUEST_ID: given.request_id} if given.request_id else {})}
        trace_id = self._find(given)
        made = mlflow.log_feedback(
            trace_id=trace_id,
            name=given.name,
            value=given.value,
            source=AssessmentSource(source_type=given.source_type, source_id=given.source_id),
            rationale=given.comment,
            metadata=about,
        )
        return FeedbackDone(trace_id=trace_id, assessment_id=str(made.assessment_id))

    def _find(self, given: Feedback) -> str:
        """The id of the trace that feedback is about."""
        from mlflow import MlflowClient  # noqa: PLC0415

        if given.trace_id is not None:
            if not self._is_there(given.trace_id):
                raise NoTrace(f"There is no trace {given.trace_id}{_WHY_NONE}")
            tags = self._tracing().get_trace_info(given.trace_id).tags
            models = {value for name, value in tags.items() if name == MODEL or name.startswith(REQUEST)}
            if given.model not in models:
                raise NoTrace(f"The trace {given.trace_id} has no request for model '{given.model}'.")
            return given.trace_id
        request_id = given.request_id or ""
        if _PLAIN.fullmatch(request_id) and "'" not in given.model:
            client = MlflowClient(self._options.tracking_uri)
            for tag, value in ((REQUEST_ID, request_id), (REQUEST + request_id, given.model)):
                wanted = f"tag.`{tag}` = '{value}'"
                found = client.search_traces([self.experiment_id()], filter_string=wanted, include_spans=False)
                for trace in found:
                    if tag != REQUEST_ID or trace.info.tags.get(MODEL) == given.model:
                        return str(trace.info.trace_id)
        raise NoTrace(f"There is no trace of a request '{request_id}' for model '{given.model}'{_WHY_NONE}")

    def _is_there(self, trace_id: str) -> bool:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            self._tracing().get_trace_info(trace_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def _find_experiment(self) -> str:
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        self._tracing()
        client, name = MlflowClient(self._options.tracking_uri), self._options.experiment
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another headrace was faster
                    raise
                found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise RuntimeError(f"the experiment {name!r} is deleted; restore it, or name another")
        return str(found.experiment_id)

    def _tracing(self) -> Any:
        if self._client is None:
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_TIMEOUT_S))
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            os.environ.setdefault("MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT", str(_TIMEOUT_S))
            os.environ.setdefault("MLFLOW_DISABLE_AGENT_HINT", "true")
            uri = self._options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
            if uri.startswith("sqlite:") and not Path(urlsplit(uri).path.removeprefix("/")).exists():
                raise RuntimeError(f"the tracking store {uri} has no database file")  # MLflow would make an empty one
            import mlflow  # noqa: PLC0415
            from mlflow.tracing.client import TracingClient  # noqa: PLC0415

            if self._options.tracking_uri is not None:
                mlflow.set_tracking_uri(self._options.tracking_uri)
            self._client = TracingClient(self._options.tracking_uri)
        return self._client


def is_refused(error: Exception) -> bool:
    """Whether MLflow will never take what it was given; else it may, when it is well again or access is granted."""
    status = getattr(error, "get_http_status_code", None)
    return status is not None and 400 <= status() < 500 and status() not in {401, 403, 404, 408, 429}


def line(error: Exception) -> str:
    """An error in one line, without what it may repeat of a password."""
    text = " ".join(str(getattr(error, "message", error)).split())
    return f"{type(error).__name__}: {text[:300]}"
