"""The part of a model's OpenAPI document that tells of OpenAI's dialect. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "completions": "/v1/completions",
}
ERROR = "DialectError"
"""The component that its errors are."""

_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"role": _TEXT}}}
_TAKES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "chat": ("messages", _MESSAGES, [{"role": "user", "content": "Hello"}]),
    "responses": ("input", {"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}, "Hello"),
    "embeddings": ("input", _TEXTS, ["a text"]),
    "completions": ("prompt", _TEXTS, "Once upon a time"),
}


def components(speaks: Sequence[str]) -> dict[str, Any]:
    """The schemas that `paths` refers to."""
    error = {
        "type": "object",
        "properties": {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")},
        "required": ["message", "type"],
    }
    return {ERROR: {"type": "object", "properties": {"error": error}, "required": ["error"]}} if speaks else {}


def paths(name: str, speaks: Sequence[str], errors: dict[str, Any]) -> dict[str, Any]:
    """The routes of a model that speaks these kinds of request; `errors` are the answers that each may give."""
    return {PATHS[kind]: {"post": _ask(name, kind, errors)} for kind in speaks}


def arguments(kind: str) -> dict[str, Any]:
    """The schema of a request of this kind, without the name of its model."""
    member, schema, _ = _TAKES[kind]
    return {"type": "object", "properties": {member: schema}, "required": [member]}


def _ask(name: str, kind: str, errors: dict[str, Any]) -> dict[str, Any]:
    member, schema, example = _TAKES[kind]
    takes = {"type": "object", "properties": {"model": _TEXT, member: schema}, "required": ["model", member]}
    gives: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if kind != "embeddings":
        takes["properties"]["stream"] = {"type": "boolean"}  # type: ignore[index] # it is a dict, written above
        gives["text/event-stream"] = {"schema": _TEXT}
    content = {"schema": takes, "example": {"model": name, member: example}}
    return {
        "operationId": kind,
        "tags": ["OpenAI"],
        "summary": "As OpenAI's clients ask",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": {"description": "The answer.", "content": gives}, **errors},
    }
