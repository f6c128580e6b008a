"""What clients of the Model Context Protocol are answered, as bytes. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace import __version__
from headrace.gateway.mcp.requests import HANDSHAKE_VERSIONS, VERSIONS, Fault, Message

MOST_BYTES = 4 * 1024 * 1024
"""Of a message, and of an answer that becomes one: both are read again, in the gateway's only thread."""

_MOST_ERROR = 4_000
_SERVER = {"name": "headrace", "version": __version__}
_CAPABILITIES: dict[str, Any] = {"tools": {}}


class _Told(msgspec.Struct):
    """The message of an error of any protocol that workers speak."""

    message: str | None = None
    error: Any = None


def fault(told: Fault) -> bytes:
    """The answer to a message that is none of the protocol's."""
    error: dict[str, Any] = {"code": told.code, "message": str(told)}
    if told.data is not None:
        error["data"] = told.data
    return msgspec.json.encode({"jsonrpc": "2.0", "id": told.id, "error": error})


def result(message: Message, members: dict[str, Any]) -> bytes:
    """The answer to a request. `members` are what the first generation of the protocol wants."""
    if message.modern:
        members = {**members, "resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": _SERVER}}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message.id, "result": members})


def initialized(message: Message) -> bytes:
    """The answer to ``initialize``: the version that the client wants, or the newest that begins like that."""
    wanted = message.params.protocol_version
    version = wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    return result(message, {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _SERVER})


def discovered(message: Message) -> bytes:
    """The answer to ``server/discover``."""
    return result(message, {"supportedVersions": VERSIONS, "capabilities": _CAPABILITIES, **_not_kept(message)})


def listed(message: Message, tools: list[msgspec.Raw]) -> bytes:
    """The answer to ``tools/list``."""
    return result(message, {"tools": tools, **_not_kept(message)})


def called(message: Message, body: bytes) -> bytes:
    """The answer to ``tools/call`` whose model has answered with `body`."""
    if len(body) > MOST_BYTES:
        told = f"The answer has {len(body)} bytes; a tool's may have {MOST_BYTES}. Ask for fewer rows at a time."
        return failed(message, told.encode())
    members: dict[str, Any] = {"content": [_text(body.decode("utf-8", "replace"))], "isError": False}
    try:
        raw = msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return result(message, members)  # a model's NaN, which JSON does not have: the text has it as it is
    is_object = body.lstrip()[:1] == b"{"
    return result(message, {**members, "structuredContent": raw if is_object else {"result": raw}})


def failed(message: Message, body: bytes) -> bytes:
    """The answer to ``tools/call`` that there is no prediction for: an agent reads why, and may do something else."""
    told = _message(body[:MOST_BYTES])[:_MOST_ERROR]
    return result(message, {"content": [_text(told)], "isError": True})


def _message(body: bytes) -> str:
    """What an error's body says: its message, or all of it where it is of no known form."""
    try:
        told = msgspec.json.decode(body, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")
    found = told.error.get("message") if isinstance(told.error, dict) else told.message
    return found if isinstance(found, str) else body.decode("utf-8", "replace")


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _not_kept(message: Message) -> dict[str, Any]:
    """What there is depends on who asks, and may be other in a moment."""
    return {"ttlMs": 0, "cacheScope": "private"} if message.modern else {}
