"""What the head of a request says."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.core.security.roles import Grant
from headrace.gateway.http.targets import Target, Want

_NOTHING_YET = Target(Want.INVOKE)
_NONE_WATCHED: dict[bytes, bytes] = {}


class RequestHead:
    """What a request's head says, as far as the gateway cares; never changed, so that equal heads can share one.

    `wire_head` is what the worker is told of it. `timeout_s` is the client's limit or None, `problem` an error message
    if the head is well-formed HTTP that cannot be served, and `problem_code` of what kind. `scope` is what its sender
    may know of, None: everything. `cors` are lines for its answer. `content_length` is 0 for no body and for chunks,
    `size_bytes` about what the head holds in memory.
    `reusable`: the same bytes again mean the same again, and the connection goes on afterwards. `watched` holds those
    of `Limits.watched_headers` that the request has. `method` and `url` are as sent, for the access log. `grpc`: it
    came as a call of gRPC.
    """

    __slots__ = (
        "bypass_cache",
        "content_length",
        "cors",
        "grpc",
        "head_only",
        "host",
        "http10",
        "keep_alive",
        "method",
        "problem",
        "problem_code",
        "request_id",
        "reusable",
        "scope",
        "size_bytes",
        "stream",
        "target",
        "timeout_s",
        "url",
        "watched",
        "wire_head",
    )

    def __init__(self) -> None:
        self.target = _NOTHING_YET
        self.wire_head = b""
        self.host = b""
        self.http10 = False
        self.grpc = False
        self.keep_alive = True
        self.head_only = False
        self.method = b""
        self.url = b""
        self.content_length = 0
        self.size_bytes = 0
        self.stream = False
        self.bypass_cache = False
        self.request_id: bytes | None = None
        self.timeout_s: float | None = None
        self.problem = ""
        self.problem_code = "BAD_REQUEST"
        self.scope: Grant | None = None
        self.cors = b""
        self.reusable = False
        self.watched: dict[bytes, bytes] = _NONE_WATCHED

    def asking(self, target: Target, wire_head: bytes, *, stream: bool) -> RequestHead:
        """This head, of a request whose body says more: which model it is for, and how it wants to be answered."""
        head = RequestHead.__new__(RequestHead)
        for name in RequestHead.__slots__:
            setattr(head, name, getattr(self, name))
        head.target, head.wire_head, head.stream = target, wire_head, stream
        return head

    def visible(self, models: Iterable[str]) -> list[str]:
        """Those of `models` that its sender may know of, in the order of the alphabet."""
        return sorted(models if self.scope is None else self.scope.visible(models))
