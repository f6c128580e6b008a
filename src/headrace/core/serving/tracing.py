"""W3C Trace Context: what a request says of the trace it belongs to, and whether it is recorded."""

from __future__ import annotations

import re
from typing import NamedTuple

_PARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_MAX_STATE_BYTES = 512


class Parent(NamedTuple):
    """The caller's span; `sampled` is its decision."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


def parse_traceparent(value: bytes | None) -> Parent | None:
    """Read the header ``traceparent``; None where there is none or it must be ignored (W3C Trace Context 3.2.2)."""
    found = _PARENT.fullmatch(value) if value is not None else None
    if found is None or found["version"] == b"ff" or (found["version"] == b"00" and found["more"]):
        return None
    trace_id, span_id = bytes.fromhex(found["trace"].decode()), bytes.fromhex(found["span"].decode())
    if not any(trace_id) or not any(span_id):
        return None
    return Parent(trace_id, span_id, sampled=bool(int(found["flags"], 16) & 1))


def usable_state(value: bytes | None) -> bytes:
    """The header ``tracestate`` if it may be passed on as it is, else nothing."""
    return value if value is not None and len(value) <= _MAX_STATE_BYTES else b""


def ratio_bound(ratio: float) -> int:
    """OpenTelemetry's TraceIdRatioBased: a trace is sampled if its id's lower eight bytes are below this number."""
    return round(ratio * 2**64)
