"""Messages of the Model Context Protocol as clients post them: JSON-RPC, one message a request. Pure.

Two generations of the protocol are spoken. Up to 2025-11-25 a client begins with ``initialize``. From 2026-07-28 on
there is no beginning: every request says in ``_meta``, and in headers, what it speaks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS = ("2026-07-28",)
VERSIONS = (*HANDSHAKE_VERSIONS, *MODERN_VERSIONS)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_MOST_SHOWN = 200

Id = int | str | None


class Fault(Exception):
    """A message that is none of the protocol's: answered with an error of this `code`, and this status of HTTP."""

    def __init__(self, code: int, message: str, *, id: Id = None, status: int = 400, data: Any = None) -> None:  # noqa: A002 - JSON-RPC's word
        super().__init__(message)
        self.code = code
        self.id = id
        self.status = status
        self.data = data


class Params(msgspec.Struct):
    """What any of the methods that there are here reads of its parameters."""

    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    protocol_version: str | None = msgspec.field(name="protocolVersion", default=None)
    meta: dict[str, Any] | None = msgspec.field(name="_meta", default=None)


class Message(msgspec.Struct):
    """One message. `id` None: a notification. `modern`: it is of a generation that has no handshake."""

    method: str
    id: Id
    params: Params
    modern: bool


class _Envelope(msgspec.Struct):
    jsonrpc: str | None = None
    method: str | None = None
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"{}")  # a union with None would take None alone


def read(body: bytes, headers: Mapping[bytes, bytes]) -> Message:
    """Read a posted message; `headers` are those of `tools.HEADERS` that it has. Raises Fault."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError as error:
        raise Fault(INVALID_REQUEST, f"Post one JSON-RPC message, an object; batches are not taken: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(PARSE_ERROR, f"The body is not valid JSON: {error}.") from None
    told_id = None if envelope.id is msgspec.UNSET else envelope.id
    if envelope.jsonrpc != "2.0" or envelope.method is None or envelope.id is None:
        told = "Post a request or a notification: an object with jsonrpc '2.0', a method, and for a request an id."
        raise Fault(INVALID_REQUEST, told, id=told_id)
    try:
        params = msgspec.json.decode(envelope.params, type=Params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(INVALID_PARAMS, f"params: {error}.", id=told_id) from None
    message = Message(envelope.method, told_id, params, modern=False)
    _check_version(message, headers)
    return message


def _check_version(message: Message, headers: Mapping[bytes, bytes]) -> None:
    """Find out which generation a message is of; raises Fault where it contradicts itself."""
    version = headers.get(b"mcp-protocol-version")
    text = version.decode("latin-1") if version is not None else None
    meta = message.params.meta or {}
    if text in HANDSHAKE_VERSIONS or (text is None and _VERSION_KEY not in meta):
        return
    message.modern = True
    if message.id is None:
        _check_supported(text, message.id)
        return
    missing = [key for key in (_VERSION_KEY, _CAPABILITIES_KEY) if key not in meta]
    if missing and text not in MODERN_VERSIONS:
        _check_supported(text, message.id)
    if missing:
        raise Fault(INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}.", id=message.id)
    if meta[_VERSION_KEY] != text:
        raise _mismatch("MCP-Protocol-Version", f"params._meta.{_VERSION_KEY}", message.id)
    if headers.get(b"mcp-method", b"").decode("latin-1") != message.method:
        raise _mismatch("Mcp-Method", "method", message.id)
    if message.method == "tools/call" and _decoded(headers.get(b"mcp-name")) != message.params.name:
        raise _mismatch("Mcp-Name", "params.name", message.id)
    _check_supported(text, message.id)


def _check_supported(version: str | None, id: Id) -> None:  # noqa: A002 - JSON-RPC's word
    if version not in MODERN_VERSIONS:
        data = {"supported": VERSIONS, "requested": str(version)[:_MOST_SHOWN]}
        told = f"Version {data['requested']!r} of the protocol is not spoken here; there are {', '.join(VERSIONS)}."
        raise Fault(UNSUPPORTED_VERSION, told, id=id, data=data)


def _mismatch(header: str, member: str, id: Id) -> Fault:  # noqa: A002 - JSON-RPC's word
    return Fault(HEADER_MISMATCH, f"The header {header} must say what {member} of the body says.", id=id)


def _decoded(value: bytes | None) -> str | None:
    """A header's value, which is in base64 where it would not be one as it is; None: it is none."""
    if value is None or not (value.startswith(b"=?base64?") and value.endswith(b"?=")):
        return None if value is None else value.decode("latin-1")
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
