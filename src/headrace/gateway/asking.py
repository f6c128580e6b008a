"""Requests in OpenAI's dialect: their bodies say which model they are for, and whether the answer is to be streamed.

No more of a body is read here than these two members; all the rest is the worker's.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from headrace.gateway import bodies
from headrace.gateway.http.heads import RequestHead
from headrace_worker import wire


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


def read(head: RequestHead, body: bytes) -> RequestHead:
    """The head of a request whose body is read; raises bodies.Refused."""
    target = head.target
    told = bodies.decode(head, body, _Body, "request")
    model = target.model
    if model is None:
        model = bodies.named(head, told.model, "model: say which model is asked; GET /v1/models lists them.")
    stream = bool(told.stream)
    return head.asking(target._replace(model=model), _wire_head(target.detail, model, stream=stream), stream=stream)


@lru_cache(maxsize=1024)
def _wire_head(kind: bytes, model: str, *, stream: bool) -> bytes:
    """What the worker is told: the same for all such requests, so that they share frames."""
    spoken = wire.Spoken(f"{wire.OPENAI}/{kind.decode()}", model)
    return wire.spoken_head(spoken, wire.head(b"application/json", b"", b"text/event-stream" if stream else b""))
