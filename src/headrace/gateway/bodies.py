"""JSON bodies that the gateway itself reads, because they, and not the path, name the model."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from headrace.gateway.http.heads import RequestHead
from headrace.gateway.security.guard import NOT_YOURS
from headrace_worker import wire

T = TypeVar("T")

_MOST_NAME = 512


class Refused(Exception):
    """The request is answered with an error that has this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(head: RequestHead, body: bytes, kind: type[T], name: str) -> T:
    """The body as a `kind`; raises Refused where it is compressed, no JSON, or no `kind` (called `name`)."""
    _, coding, _ = wire.split_head(head.wire_head) if head.wire_head else (None, b"", b"")
    if coding:
        raise Refused("UNSUPPORTED_MEDIA_TYPE", "Send the body as it is: no Content-Encoding is taken here.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refused("BAD_REQUEST", f"The body is no {name}: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("BAD_REQUEST", f"The body is not valid JSON: {error}.") from None


def named(head: RequestHead, model: str | None, missing: str) -> str:
    """The model that a body names; raises Refused: it names none (`missing` says so), or one that is not allowed."""
    if not model:
        raise Refused("BAD_REQUEST", missing)
    if len(model) > _MOST_NAME:
        raise Refused("NOT_FOUND", "There is no model with a name as long as that.")
    if head.scope is not None and not head.scope.predicts(model):
        raise Refused("PERMISSION_DENIED", NOT_YOURS)
    return model
