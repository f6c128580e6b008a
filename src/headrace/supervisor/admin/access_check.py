"""Lets nobody use the admin port who may not: a role for every request, whatever route it is for."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.core.security.access import Judge
from headrace.core.security.roles import Grant, Role
from headrace.core.security.untrusted import UnknownKey, Untrusted
from headrace.supervisor.access import AccessRules
from headrace.supervisor.admin.error_answers import Refused, refusal

WHO = "headrace.who"
"""Where a request's scope names who asks, where that is known."""

_PROBES = frozenset({"/livez", "/readyz", "/startedz"})
SIGNED = "/hooks/"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = 'Basic realm="headrace: any name, and an API key as the password", charset="UTF-8"'


class AccessCheck:
    """ASGI middleware: 401 for who shows nothing or what is wrong, 403 for who lacks the role.

    What reads needs `read`, everything else `operate`; so a route that is added is never open by accident. Webhooks are
    signed. Probes are answered to everybody where that is set, with nothing but their status.
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
        """Answer, or hand on."""
        rules = self._rules()
        if rules is None or scope["type"] != "http" or scope["path"].startswith(SIGNED):
            await self._app(scope, receive, send)
            return
        role = needed(scope["method"])
        try:
            who = _who(scope, rules.judge)
        except Untrusted as error:
            if isinstance(error, UnknownKey):
                rules.want_keys(error.issuer)
            self._refuse(rules, scope, "wrong", "")
            await _challenge(str(error))(scope, receive, send)
            return
        if who.has(role):
            scope[WHO] = who.name
            await self._app(scope, receive, send)
        elif rules.judge.access.open_probes and is_probe(scope["method"], scope["path"]):
            await self._app(scope, receive, _without_body(send))
        elif not who.name:
            self._refuse(rules, scope, "missing", "")
            await _challenge("send an API key as 'Authorization: Bearer KEY'")(scope, receive, send)
        else:
            self._refuse(rules, scope, "forbidden", who.name)
            await refusal(Refused("PERMISSION_DENIED", f"this needs the role {role!r}"))(scope, receive, send)

    def _refuse(self, rules: AccessRules, scope: Scope, why: str, who: str) -> None:
        rules.refused[why] += 1
        if self._on_refused is not None:
            self._on_refused(scope, why, who)


def _who(scope: Scope, judge: Judge) -> Grant:
    """Who it is; raises Untrusted for who has shown what is none."""
    headers = Headers(scope=scope)
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise Untrusted("send one Authorization header, and not several")
    shown = given[0].encode("latin-1", "replace") if given else None
    told = headers.get(judge.access.proxy_header) if judge.access.proxy_header is not None else None
    address = scope["client"][0] if scope.get("client") else ""
    return judge.judge(shown, [told] if told and judge.trusts(address) else [], time.time())


def _challenge(message: str) -> Response:
    response = refusal(Refused("UNAUTHENTICATED", message))
    response.headers["WWW-Authenticate"] = _CHALLENGE
    return response


def needed(method: str) -> Role:
    """The role that a request needs, whatever it is for."""
    return "read" if method in READING else "operate"


def is_probe(method: str, path: str) -> bool:
    """Whether it is an orchestrator's question for the whole; one for a model would say that there is this model."""
    return method in {"GET", "HEAD"} and path in _PROBES


def _without_body(send: Send) -> Send:
    """Names and reasons are for those who may read: others are told the status."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"content-length"]
            message = {**message, "headers": [*kept, (b"content-length", b"3")]}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b"" if message.get("more_body", False) else b"{}\n"}
        await send(message)

    return sending
