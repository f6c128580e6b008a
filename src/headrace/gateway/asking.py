"""Requests in OpenAI's dialect: their bodies say which model they are for, and whether the answer is to be streamed.

No more of a body is read here than these two members; all the rest is the worker's.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from headrace.gateway.http.heads import RequestHead
from headrace.gateway.security.guard import NOT_YOURS
from headrace_worker import wire

_MOST_NAME = 512


class Refused(Exception):
    """The request is answered with an error that has this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


def read(head: RequestHead, body: bytes) -> RequestHead:
    """The head of a request whose body is read; raises Refused."""
    target = head.target
    _, coding, _ = wire.split_head(head.wire_head)
    if coding:
        raise Refused("UNSUPPORTED_MEDIA_TYPE", "Send the body as it is: no Content-Encoding is taken here.")
    try:
        told = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        raise Refused("BAD_REQUEST", f"The body is no request: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("BAD_REQUEST", f"The body is not valid JSON: {error}.") from None
    model = target.model
    if model is None:
        if not told.model:
            raise Refused("BAD_REQUEST", "model: say which model is asked; GET /v1/models lists them.")
        model = told.model
        if len(model) > _MOST_NAME:
            raise Refused("NOT_FOUND", "There is no model with a name as long as that.")
        if head.scope is not None and not head.scope.predicts(model):
            raise Refused("PERMISSION_DENIED", NOT_YOURS)
    stream = bool(told.stream)
    return head.asking(target._replace(model=model), _wire_head(target.detail, model, stream=stream), stream=stream)


@lru_cache(maxsize=1024)
def _wire_head(kind: bytes, model: str, *, stream: bool) -> bytes:
    """What the worker is told: the same for all such requests, so that they share frames."""
    spoken = wire.Spoken(f"{wire.OPENAI}/{kind.decode()}", model)
    return wire.spoken_head(spoken, wire.head(b"application/json", b"", b"text/event-stream" if stream else b""))
