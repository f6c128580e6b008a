"""The frames of the wire that traces need: which frame is traced, and what was traced in it.

::

    TRACE    trace_id:u8[16] span_id:u8[8]    gateway to worker, before a BATCH or CALL of that id: it is traced
    SPANS    json                             worker to gateway, once, when all of that frame's answer is sent

What the JSON holds is `scoring.tracing`'s. Standard library only; Python 3.8 and later.
"""

from __future__ import annotations

from headrace_worker.wire import PREFIX, SPANS, TRACE, WireError

CONTEXT_BYTES = 24
"""A trace's id and the id of the span in it that the frame is predicted in."""

MAX_SPANS_BYTES = 4 * 1024 * 1024
"""What a ``SPANS`` frame holds at most."""


def encode_trace(batch_id: int, context: bytes) -> bytes:
    """Encode a ``TRACE`` frame."""
    return PREFIX.pack(5 + len(context), TRACE, batch_id) + context


def decode_trace(payload: memoryview) -> bytes:
    """Decode the payload of a ``TRACE`` frame; raises WireError."""
    if len(payload) != CONTEXT_BYTES:
        raise WireError(f"a TRACE frame of {len(payload)} bytes; there must be {CONTEXT_BYTES}")
    return bytes(payload)


def encode_spans(batch_id: int, told: bytes) -> bytes:
    """Encode a ``SPANS`` frame; one that would be too large says nothing."""
    told = told if len(told) <= MAX_SPANS_BYTES else b"{}"
    return PREFIX.pack(5 + len(told), SPANS, batch_id) + told


def decode_spans(payload: memoryview) -> bytes:
    """Decode the payload of a ``SPANS`` frame; raises WireError."""
    if len(payload) > MAX_SPANS_BYTES:
        raise WireError(f"a SPANS frame of {len(payload)} bytes; at most {MAX_SPANS_BYTES} are possible")
    return bytes(payload)
