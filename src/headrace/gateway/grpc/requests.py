"""The head of a call as the gateway knows heads of requests: made once for calls that say the same."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want
from headrace_worker import wire

if TYPE_CHECKING:
    from headrace.gateway.grpc.headers import Fields
    from headrace.gateway.grpc.methods import Request
    from headrace.gateway.http.port import Port
    from headrace.gateway.security.guard import Client

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_OWN = (b"grpc-timeout", b"x-request-id")
"""What differs from call to call and decides nothing."""

_TOO_LATE = "The call's deadline had passed before the request was whole."


def timeout_s(fields: Mapping[bytes, bytes]) -> float | None:
    """How long the client waits for the end of its call; None: it does not say."""
    told = _TIMEOUT.fullmatch(fields.get(b"grpc-timeout", b""))
    return int(told[1]) * _SECONDS[told[2]] if told else None


def head_of(
    port: Port,
    client: Client,
    fields: Fields,
    request: Request,
    *,
    streaming: bool = False,
    left_s: float | None = None,
) -> RequestHead:
    """The head of a request that was called with these fields; `left_s` of its deadline are left."""
    head = _shared(port, client, fields, request, streaming=streaming)
    asked_id = fields.get(b"x-request-id")
    if left_s is None and asked_id is None:
        return head
    head = copy.copy(head)
    if asked_id is not None and _ID.fullmatch(asked_id):
        head.request_id = asked_id
    head.timeout_s = left_s
    if left_s is not None and left_s <= 0 and not head.problem:
        head.problem, head.problem_code = _TOO_LATE, "DEADLINE_EXCEEDED"
    return head


def refused(fields: Mapping[bytes, bytes], want: Want, code: str, message: str) -> RequestHead:
    """The head of a call that is refused."""
    head = _plain(fields)
    head.target = Target(want, protocol=wire.V2)
    head.problem, head.problem_code = message, code
    return head


def _shared(port: Port, client: Client, fields: Fields, request: Request, *, streaming: bool) -> RequestHead:
    target = request.target
    said = getattr(fields, "said", None)
    if said is None:
        said = fields.said = b"\n".join([b"%b\n%b" % one for one in fields.items() if one[0] not in _OWN])
    size = -1 if request.json_bytes is None else request.json_bytes
    key = b"%b\n%b\n%b\n%d %d" % (said, (target.model or "").encode(), target.detail, target.want, size)
    head = port.heads.get(key)
    if head is None:
        head = _plain(fields)
        head.target = target
        if target.want is Want.INFER:
            spoken = wire.Spoken(target.protocol, target.model or "", request.json_bytes)
            accept = b"text/event-stream" if streaming else b""
            head.wire_head = wire.spoken_head(spoken, wire.head(None, b"", accept))
            head.stream = streaming
        caching = fields.get(b"cache-control", b"").lower()
        head.bypass_cache = b"no-cache" in caching or b"no-store" in caching
        names = (name.encode() for name in port.state.limits.watched_headers)
        head.watched = {name: fields[name] for name in names if name in fields}
        admit = port.admit(client)
        if admit is not None:
            admit(head, fields)
        if head.reusable:
            port.keep(key, head)
    return head


def _plain(fields: Mapping[bytes, bytes]) -> RequestHead:
    head = RequestHead()
    head.grpc = head.reusable = True
    head.method = b"POST"
    head.url = fields.get(b":path", b"")
    head.host = fields.get(b":authority", b"")
    head.size_bytes = sum(len(name) + len(value) for name, value in fields.items())
    return head
