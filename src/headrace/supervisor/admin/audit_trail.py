"""Writes requests to the admin port into the audit file: each before it is carried out, and then its result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from headrace.supervisor.admin.access_check import READING, SIGNED, WHO
from headrace.supervisor.admin.error_answers import refusal
from headrace.supervisor.admin.session_cookies import is_open
from headrace.supervisor.audit import NotAudited

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from headrace.supervisor.admin.state import ServerState
    from headrace.supervisor.audit import AuditFile

_TRY = "/try"
_MOST_CHARACTERS = 1_000
_REFUSALS_EACH_S = 10.0
_MOST_REFUSED = 1_000
_OTHERS = "others"


class AuditTrail:
    """ASGI middleware, behind the check of who may ask.

    Left out is what changes nothing: predictions that are tried, webhooks, which only have the registry asked, and what
    is open to everybody. Who sends those needs no key, and must not be able to fill the disk.
    """

    def __init__(self, app: ASGIApp, server: ServerState, audit: AuditFile) -> None:
        self._app = app
        self._server = server
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, after its entry is written. If the entry cannot be written, the request is refused."""
        if scope["type"] != "http" or scope["method"] in READING or _changes_nothing(scope["path"]):
            await self._app(scope, receive, send)
            return
        path = scope["path"][:_MOST_CHARACTERS]
        asked = {
            "order": path.rpartition("/")[2],
            "path": path,
            "given": dict(parse_qsl(scope["query_string"].decode("latin-1")[:_MOST_CHARACTERS])),
            "who": scope.get(WHO, ""),
            "whence": whence(scope),
        }
        try:
            number = await self._audit.record("asked", {**asked, "was": self._state(path)})
        except NotAudited as error:
            await refusal(error)(scope, receive, send)
            return
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            self._audit.note("answered", {"of": number, "status": status, "is": self._state(path)})

    def _state(self, path: str) -> dict[str, Any] | None:
        """The part of the state of the model in the path that an operator may change."""
        parts = path.split("/")
        model = self._server.models.get(parts[3]) if path.startswith("/api/models/") and len(parts) > 3 else None
        if model is None:
            return None
        serving = model.current
        return {
            "serves": serving.label if serving is not None else None,
            "replicas": model.replicas,
            "paused": model.main.paused,
        }


class RefusalNotes:
    """Records refused requests: the first at once, more of the same kind and address as a count every ten seconds.

    Beyond 1,000 addresses in that time, the rest count as one, `others`: strangers cannot fill the disk.
    """

    def __init__(self, audit: AuditFile) -> None:
        self._audit = audit
        self._noted: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, scope: Scope, why: str, who: str) -> None:
        """Record one refused request."""
        key, now_s = (whence(scope), why), time.monotonic()
        if key not in self._noted and len(self._noted) >= _MOST_REFUSED:
            kept = {known: noted for known, noted in self._noted.items() if now_s - noted[0] < _REFUSALS_EACH_S}
            self._noted = kept
            key = key if len(kept) < _MOST_REFUSED else (_OTHERS, why)
        last_s, left_out = self._noted.get(key, (now_s - _REFUSALS_EACH_S, 0))
        if now_s - last_s < _REFUSALS_EACH_S:
            self._noted[key] = last_s, left_out + 1
            return
        self._noted[key] = now_s, 0
        entry = {"why": why, "who": who, "whence": key[0], "method": scope["method"], "path": scope["path"][:100]}
        self._audit.note("refused", {**entry, "others": left_out})


def _changes_nothing(path: str) -> bool:
    # Where people sign in, who is let in or refused is noted by itself.
    return path.endswith(_TRY) or path.startswith(SIGNED) or is_open(path)


def whence(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""
