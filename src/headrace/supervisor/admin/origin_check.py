"""Keeps other web sites out of the admin port: a page in an operator's browser could use the operator's key."""

from __future__ import annotations

import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.core.admin.origins import forgery, is_known_host
from headrace.core.security.addresses import is_loopback
from headrace.supervisor.admin.error_answers import Refused, refusal
from headrace.supervisor.admin.session_cookies import FORMS

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Probes say nothing that is worth reading and come by any name; webhooks are signed.
_OPEN = ("/livez", "/readyz", "/startedz", "/hooks/")


class Guard:
    """ASGI middleware: 421 for a host name that is not the port's, 403 for a request that another site may have sent.

    `host` is where the port is bound, `names` are further ones that it is known by.
    """

    def __init__(self, app: ASGIApp, host: str, names: tuple[str, ...]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in (*names, socket.gethostname(), host))
        self._loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http" or scope["path"].startswith(_OPEN):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        why = forgery(scope["method"], headers, form=scope["path"] in FORMS)
        if not is_known_host(host, self._names, loopback=self._loopback):
            message = f"the admin port is not known by the name {host!r}; if it should be, add it to admin.hosts"
            await refusal(Refused("UNKNOWN_HOST", message))(scope, receive, send)
        elif why is not None:
            await refusal(Refused("PERMISSION_DENIED", f"refused: {why}"))(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
