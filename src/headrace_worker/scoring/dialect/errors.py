"""Errors in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

from headrace_worker import wire
from headrace_worker.scoring.dialect import forms
from headrace_worker.scoring.errors.refusal import JSON, Refusal

MAX_MESSAGE = 2000


def tell(refusal: Refusal) -> wire.Answer:
    """The answer to a request that was refused; what it names is the param."""
    message = f"{refusal.path}: {refusal.message}" if refusal.path else refusal.message
    return answer(refusal.status, message, code=(refusal.code or "invalid_value").lower(), param=refusal.path or None)


def answer(
    status: int, message: str, *, code: str | None = None, param: str | None = None, rows: int = 0, flags: int = 0
) -> wire.Answer:
    """An answer that is an error."""
    return wire.Answer(status, JSON, json.dumps(_body(status, message, code, param)).encode(), rows, flags)


def failed(message: str, rows: int = 0) -> wire.Answer:
    """The answer to a request on which the model has failed."""
    return answer(500, message, code="model_error", rows=rows, flags=wire.FLAG_MODEL_ERROR)


def event(kind: str, message: str) -> bytes:
    """The event that ends a stream on which the model has failed."""
    body = _body(500, message, "model_error", None)
    if kind != forms.RESPONSES:
        return b"data: " + json.dumps(body).encode() + b"\n\n"
    told = {"type": "error", "code": "model_error", "message": message[:MAX_MESSAGE], "param": None, **body}
    return b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n"


def in_form(told: wire.Answer) -> wire.Answer:
    """An error of MLflow's form in the dialect's; the model's failures are the server's, whatever MLflow says."""
    status = 500 if told.flags & wire.FLAG_MODEL_ERROR else told.status
    code, param, message = "", None, bytes(told.body).decode("utf-8", "replace")
    try:
        document = json.loads(message)
        if "error" in document:
            return told
        message, code = str(document["message"]), str(document.get("error_code") or "")
        param = document.get("path")
        raised = str(document.get("stack_trace") or "").strip().rpartition("\n")[2].strip()
        if raised and status == 500:
            message = f"The model raised {raised}"
    except (ValueError, KeyError, TypeError):
        pass
    _, found, why = message.rpartition("\nError: ")  # without the input, which MLflow repeats before it
    flags = told.flags & ~wire.FLAG_ERROR_OBJECT
    return answer(
        status, why if found else message, code=code.lower() or None, param=param, rows=told.rows, flags=flags
    )


def _body(status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message[:MAX_MESSAGE], "type": kind, "param": param, "code": code}}
