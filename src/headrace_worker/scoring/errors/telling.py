"""How a failure is told: MLflow's status and body, or, where the operator chose strict errors, whose fault it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring import shapes
from headrace_worker.scoring.errors import locate, misfit
from headrace_worker.scoring.errors import type_hints as hints
from headrace_worker.scoring.errors.refusal import JSON, TEXT, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace_worker.scoring.oracle import Call, CallFailed, Oracle
    from headrace_worker.scoring.plan import Plan

MAX_MESSAGE = 500


def error_body(code: str, message: str, **more: Any) -> bytes:
    """An error object in MLflow's shape."""
    return json.dumps({"error_code": code, "message": message, **more}).encode()


def tell_refusal(refusal: Refusal, *, strict: bool) -> wire.Answer:
    """The answer to a request that was refused before the model saw it."""
    if refusal.code is None and not strict:
        return wire.Answer(refusal.status, TEXT, refusal.message.encode("utf-8", "replace"))
    message = f"{refusal.path}: {refusal.message}" if refusal.path else refusal.message
    return _own(refusal.status, refusal.code or "UNSUPPORTED_MEDIA_TYPE", message, path=refusal.path)


def tell_unsendable(error: Exception, rows: int, *, strict: bool) -> wire.Answer:
    """The answer to a request whose prediction has no JSON form, where MLflow's server has a bare 500."""
    code = "MODEL_ERROR" if strict else "INTERNAL_ERROR"
    return _own(500, code, str(error)[:MAX_MESSAGE], rows=rows, flags=wire.FLAG_MODEL_ERROR)


def tell_fewer_rows(rows_in: int, rows_out: int) -> wire.Answer:
    """The strict answer where the model lost rows: nobody can tell which prediction belongs to which row."""
    message = f"The model answered {rows_in} rows with {rows_out} predictions."
    return _own(500, "MODEL_ERROR", message, rows=rows_in, flags=wire.FLAG_MODEL_ERROR)


class Teller:
    """Words failures of one model. `strict`: 4xx for the caller's fault, 500 for the model's, no internals."""

    def __init__(self, oracle: Oracle, plan: Plan, *, strict: bool) -> None:
        self._oracle = oracle
        self._plan = plan
        self._strict = strict

    def tell(self, failed: CallFailed, request: Any, told: Callable[[str], str] = str) -> wire.Answer:
        """The answer for a reference call that failed before the model had answered.

        `request` is the parsed body, None if it is not JSON; `told` makes of a path in it that of what was sent.
        """
        if self._strict:
            return self._tell_strictly(failed, request, told)
        error: Any = failed.error
        if isinstance(error, self._oracle.error_class):
            raised = failed.call.raised
            flags = wire.FLAG_MODEL_ERROR if raised and not isinstance(raised, self._oracle.error_class) else 0
            return self._tell_mlflow(error, failed.call.rows, flags)
        if failed.call.raised is not None:  # MLflow 2.9 to 3.x word any of these; this is for versions to come
            message = f"The model raised {type(error).__name__}: {error}"[:MAX_MESSAGE]
            return _own(400, "BAD_REQUEST", message, flags=wire.FLAG_MODEL_ERROR)
        return _own(400, "BAD_REQUEST", f"The input cannot be parsed: {type(error).__name__}: {error}"[:MAX_MESSAGE])

    def _tell_mlflow(self, error: Any, rows: int, flags: int) -> wire.Answer:
        try:
            body = error.serialize_as_json().encode("utf-8", "surrogatepass")
        except Exception:  # noqa: BLE001 - a model may put into its exception what has no JSON form
            body = error_body(str(error.error_code), str(error))
        return wire.Answer(int(error.get_http_status_code()), JSON, body, rows, flags)

    def _tell_strictly(self, failed: CallFailed, request: Any, told: Callable[[str], str]) -> wire.Answer:
        call = failed.call
        raised: Any = call.raised
        if raised is None or self.is_callers(call):
            return self._tell_caller(failed, request, told)
        status = _status(raised) if isinstance(raised, self._oracle.error_class) else 500
        lacking = misfit.incomplete(request, self._oracle.input_schema) if type(request) is dict else None
        if status >= 500 and lacking is not None:
            return _located(lacking, call.rows, told)
        if status >= 500:
            message = f"The model failed on this input ({type(raised).__name__})."
            return _own(500, "MODEL_ERROR", message, rows=call.rows, flags=wire.FLAG_MODEL_ERROR)
        if self._oracle.is_type_hint or not call.is_table:
            # Raised while MLflow checks the input against a type hint or a chat schema; the text repeats the input.
            found = hints.misfit(self._oracle.model, call.data) if self._oracle.is_type_hint else None
            if found is not None:
                return _located(found, call.rows, told)
            return _own(
                status, str(raised.error_code), "The input does not fit what the model accepts.", rows=call.rows
            )
        return _own(status, str(raised.error_code), call.message[:MAX_MESSAGE], rows=call.rows)

    def is_callers(self, call: Call) -> bool:
        """Whether what the model call raised came from checking the input, before the model itself ran."""
        try:
            self._oracle.check(call)
        except Exception:  # noqa: BLE001 - MLflow's checks raise whatever pandas raises
            return True
        return False

    def _tell_caller(self, failed: CallFailed, request: Any, told: Callable[[str], str]) -> wire.Answer:
        if request is None and failed.call.data is None:
            return _own(400, "BAD_REQUEST", _about_syntax(failed.error))
        if request is not None and not isinstance(request, dict):
            return _own(400, "BAD_REQUEST", "The body must be a JSON object.")
        request = request or {}
        found = locate.missing(request, self._plan)
        if found is None:
            found = next((f for f in locate.findings(request, self._plan) if not f.hazard), None)
        if found is None:
            found = self._odd_param(failed, request) or misfit.misfit(request, self._oracle.input_schema)
        if found is not None:
            return _located(found, failed.call.rows, told)
        code = str(getattr(failed.error, "error_code", "BAD_REQUEST"))
        return _own(400, code, _without_input(failed), rows=failed.call.rows)

    def _odd_param(self, failed: CallFailed, request: dict[str, Any]) -> locate.Finding | None:
        """The param that MLflow names; those of the LLM form lie at the top of the body."""
        names = _refused_params(str(getattr(failed.error, "message", "")))
        schema = self._oracle.params_schema
        if not shapes.LLM_KEYS.isdisjoint(request):
            return misfit.odd_param(names, request, schema, "")
        params = request.get("params")
        return misfit.odd_param(names, params, schema, "params.") if isinstance(params, dict) else None


def _own(status: int, code: str, message: str, *, rows: int = 0, path: str = "", flags: int = 0) -> wire.Answer:
    more = {"path": path} if path else {}
    return wire.Answer(status, JSON, error_body(code, message, **more), rows, wire.FLAG_ERROR_OBJECT | flags)


def _located(found: locate.Finding, rows: int, told: Callable[[str], str]) -> wire.Answer:
    path = told(found.path)
    return _own(400, "INVALID_PARAMETER_VALUE", f"{path}: {found.message}", path=path, rows=rows)


def _status(error: Any) -> int:
    return int(error.get_http_status_code())


def _about_syntax(error: BaseException | None) -> str:
    """Where a body stops being JSON, CSV or Parquet, without its text."""
    while error is not None:
        if isinstance(error, json.JSONDecodeError):
            return f"The body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}."
        if isinstance(error, UnicodeDecodeError):
            return f"The body is not valid {error.encoding}: {error.reason} at byte {error.start}."
        error = error.__cause__ or error.__context__
    return "The body cannot be parsed as what its Content-Type says."


def _refused_params(text: str) -> list[str]:
    return sorted(set(re.findall(r"\('(\w{1,64})', ", text))) if "Invalid parameters found" in text else []


def _without_input(failed: CallFailed) -> str:
    """What can be said about a refused input without repeating it."""
    text = str(getattr(failed.error, "message", ""))
    if "exactly one of the input fields" in text:
        return "The body must have exactly one of dataframe_split, dataframe_records, instances and inputs."
    if names := _refused_params(text):
        return f"params: {', '.join(names)[:MAX_MESSAGE]} does not fit the model's params schema."
    if "valid type hint" in text:
        return 'The body must have "inputs", for the model is made with a type hint.'
    if "Parameters must be a dictionary" in text:
        return "params: expected an object."
    return "The input does not fit the model's signature."
