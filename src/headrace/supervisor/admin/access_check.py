"""Checks who may use the admin port: every request needs a role, on every route."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.core.security.access import Judge
from headrace.core.security.roles import Grant, Role
from headrace.core.security.sessions import Session
from headrace.core.security.untrusted import UnknownKey, Untrusted
from headrace.supervisor.admin.error_answers import Refused, refusal
from headrace.supervisor.admin.session_cookies import SESSION, SIGN_IN, is_open, signed_in
from headrace.supervisor.security.access import AccessRules

WHO = "headrace.who"
"""Where a request's scope names who asks, where that is known."""

CSRF = "x-csrf-token"
"""The header in which a page's script sends the token of its session."""

_EVENTS = "/events"
_PROBES = frozenset({"/livez", "/readyz", "/startedz"})
SIGNED = "/hooks/"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = 'Basic realm="headrace: any name, and an API key as the password", charset="UTF-8"'


class AccessCheck:
    """ASGI middleware: 401 if a request has no valid credentials, 403 if its role is not sufficient.

    What reads needs `read`, everything else `operate`; so a route that is added is never open by accident. Webhooks are
    signed. Probes are answered to everybody where that is set, with nothing but their status. A browser that has signed
    in has a cookie; to change something it needs the token of a page, too.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: Callable[[], AccessRules | None],
        on_refused: Callable[[Scope, str, str], None] | None = None,
    ) -> None:
        self._app = app
        self._rules = rules
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        rules = self._rules()
        if rules is None or scope["type"] != "http" or scope["path"].startswith(SIGNED) or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers, role = Headers(scope=scope), needed(scope["method"])
        session = _session(scope, headers, rules)
        try:
            who = session.grant if session is not None else _who(scope, headers, rules.judge)
        except Untrusted as error:
            if isinstance(error, UnknownKey):
                rules.want_keys(error.issuer)
            self._refuse(rules, scope, "wrong", "")
            await _challenge(headers, str(error))(scope, receive, send)
            return
        if who.has(role) and session is not None and role != "read" and not session.permits(headers.get(CSRF)):
            self._refuse(rules, scope, "forbidden", who.name)
            says = f"who has signed in by a browser changes something with the CSRF token of a page ({CSRF})"
            await refusal(Refused("PERMISSION_DENIED", says))(scope, receive, send)
        elif who.has(role):
            scope[WHO], scope[SESSION] = who.name, session
            await self._app(scope, receive, _while_signed_in(send, scope, rules) if session is not None else send)
        elif rules.judge.access.open_probes and is_probe(scope["method"], scope["path"]):
            await self._app(scope, receive, _without_body(send))
        elif session is None and "authorization" not in headers and _is_page(scope, headers):
            asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            await RedirectResponse(f"{SIGN_IN}?next={quote(asked, safe='')}", 303)(scope, receive, send)
        elif not who.name:
            self._refuse(rules, scope, "missing", "")
            await _challenge(headers, "send an API key as 'Authorization: Bearer KEY'")(scope, receive, send)
        else:
            self._refuse(rules, scope, "forbidden", who.name)
            await refusal(Refused("PERMISSION_DENIED", f"this needs the role {role!r}"))(scope, receive, send)

    def _refuse(self, rules: AccessRules, scope: Scope, why: str, who: str) -> None:
        rules.refused[why] += 1
        if self._on_refused is not None:
            self._on_refused(scope, why, who)


def _session(scope: Scope, headers: Headers, rules: AccessRules) -> Session | None:
    """The session of a browser. Credentials in the request take precedence. Events of an open page are no activity."""
    if "authorization" in headers:
        return None
    return signed_in(scope, rules, used=not scope["path"].endswith(_EVENTS))


def _who(scope: Scope, headers: Headers, judge: Judge) -> Grant:
    """The caller; raises Untrusted if its credentials are not valid."""
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise Untrusted("send one Authorization header, and not several")
    shown = given[0].encode("latin-1", "replace") if given else None
    told = headers.get(judge.access.proxy_header) if judge.access.proxy_header is not None else None
    address = scope["client"][0] if scope.get("client") else ""
    return judge.judge(shown, [told] if told and judge.trusts(address) else [], time.time())


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether the request asks for a page in a browser."""
    return scope["method"] in {"GET", "HEAD"} and "text/html" in headers.get("accept", "")


def _challenge(headers: Headers, message: str) -> Response:
    response = refusal(Refused("UNAUTHENTICATED", message))
    # Of what a page's script asks, a browser is not to open a window of its own for a password.
    in_a_page = headers.get("sec-fetch-mode", "navigate") != "navigate"
    response.headers["WWW-Authenticate"] = 'Bearer realm="headrace"' if in_a_page else _CHALLENGE
    return response


def needed(method: str) -> Role:
    """The role that a request with this method needs, on every route."""
    return "read" if method in READING else "operate"


def is_probe(method: str, path: str) -> bool:
    """Whether it is a probe of headrace as a whole. A probe of one model would reveal that this model exists."""
    return method in {"GET", "HEAD"} and path in _PROBES


def _while_signed_in(send: Send, scope: Scope, rules: AccessRules) -> Send:
    """End an answer that is sent bit by bit, such as the events of a page, when its session ends."""
    ended = False

    async def sending(message: Message) -> None:
        nonlocal ended
        if ended:
            return
        if message["type"] == "http.response.body" and signed_in(scope, rules, used=False) is None:
            ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return sending


def _without_body(send: Send) -> Send:
    """Remove names and reasons, which only callers with `read` may see: the status remains."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"content-length"]
            message = {**message, "headers": [*kept, (b"content-length", b"3")]}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b"" if message.get("more_body", False) else b"{}\n"}
        await send(message)

    return sending
