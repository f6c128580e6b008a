"""The context of a listening socket: its model, and the request heads that were seen on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.http.clients import Clients
    from headrace.gateway.http.heads import RequestHead
    from headrace.gateway.http.parsing import Admit
    from headrace.gateway.http.targets import Target
    from headrace.gateway.security.guard import Client, Guard
    from headrace.gateway.security.pages import PageCheck
    from headrace.gateway.state import GatewayState

_MAX_HEADS = 4096
_MAX_HEAD_BYTES = 2048


class Application(Protocol):
    """The application that answers requests."""

    def handle(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request, now or later."""

    def answer(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request now, without its body."""

    def overloaded(self, exchange: Exchange, now_s: float) -> None:
        """Refuse a request because there is no memory for it."""

    def takes_body(self, target: Target) -> bool:
        """Whether the body of a request for `target` is needed."""


class Port:
    """`model` is the model whose own port this is, None on the shared one. `heads` maps a head's bytes to its meaning.

    Clients repeat themselves: the memory holds what they send again and again, at most 8 MiB of it. When it is full it
    is emptied, so that heads which never come back (a unique header in each) do not stay.
    """

    __slots__ = ("application", "clients", "guard", "heads", "model", "pages", "scheme", "state")

    def __init__(
        self,
        state: GatewayState,
        clients: Clients,
        application: Application,
        model: str | None,
        *,
        tls: bool = False,
        guard: Guard | None = None,
        pages: PageCheck | None = None,
    ) -> None:
        self.state = state
        self.clients = clients
        self.application = application
        self.model = model
        self.guard = guard
        self.pages = pages
        self.scheme = b"https" if tls else b"http"
        self.heads: dict[bytes, RequestHead] = {}

    def admit(self, connection: Client) -> Admit | None:
        """The check of the request heads of a connection; None: every client may ask."""
        return partial(self._admit, connection) if self.guard is not None or self.pages is not None else None

    def remember(self, data: bytes, head: RequestHead) -> None:
        """Remember the head that `data` begins with.

        It ends with the first empty line, for the parser took it. A stream that begins with line ends, which may come
        before a request, is left to the parser, and so would be one with line ends of other kinds.
        """
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > _MAX_HEAD_BYTES or not data[0:1].isalpha():
            return
        key = data[:end]
        lines = key.count(b"\r\n")
        if key.count(b"\n") != lines or key.count(b"\r") != lines:
            return
        self.keep(key, head)

    def keep(self, key: bytes, head: RequestHead) -> None:
        """Remember what `key`, which holds all that a client said, means."""
        if len(key) > _MAX_HEAD_BYTES:
            return
        if len(self.heads) >= _MAX_HEADS:
            self.heads.clear()
        self.heads[key] = head

    def count_forbidden(self) -> None:
        """Count a request that its client is not allowed to send."""
        if self.guard is not None:
            self.guard.failures["forbidden"] += 1

    def _admit(self, connection: Client, head: RequestHead, fields: Mapping[bytes, bytes]) -> None:
        if (self.pages is None or self.pages.admit(head, fields)) and self.guard is not None:
            self.guard.admit(connection, self.model, head, fields.get(b"authorization"))
