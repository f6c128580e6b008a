"""The cookies of browsers that have signed in: one for the session, sealed ones for the time before there is one."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from headrace.core.security.sessions import Session
from headrace.supervisor.security.access import AccessRules

SESSION = "headrace.session"
"""Where a request's scope has the session that it belongs to, if it does."""

SIGN_IN, SIGN_OUT, RETURN = "/sign-in", "/sign-out", "/sign-in/return"
FORMS = frozenset({SIGN_IN, SIGN_OUT})
FORM, FLOW = "headrace-form", "headrace-flow"
_NAME = "headrace-session"


def is_open(path: str) -> bool:
    """Whether a path is open without a session; nothing there shows what is served."""
    return path in {SIGN_IN, SIGN_OUT} or path.startswith((f"{SIGN_IN}/", "/static/"))


def is_secure(scope: Scope, rules: AccessRules) -> bool:
    """Whether the browser uses HTTPS: to this port, or to a trusted proxy that says so."""
    if scope["scheme"] == "https":
        return True
    client = scope.get("client")
    told = dict(scope["headers"]).get(b"x-forwarded-proto") == b"https"
    return told and client is not None and rules.judge.trusts(client[0])


def cookie_of(scope: Scope, rules: AccessRules) -> str:
    """The value of the session cookie; empty if there is none."""
    return Request(scope).cookies.get(_name(secure=is_secure(scope, rules)), "")


def signed_in(scope: Scope, rules: AccessRules, *, used: bool) -> Session | None:
    """The session of a request; None if there is none or it has ended. `used`: the request counts as activity."""
    cookie = cookie_of(scope, rules)
    session = rules.sessions.find(cookie, time.monotonic(), used=used) if cookie else None
    if session is not None and session.key is not None and not rules.judge.holds(session.key):
        rules.sessions.end(cookie)
        return None
    return session


def give_session(response: Response, cookie: str, *, secure: bool) -> None:
    """Sign a browser in. No script can read its cookie, and no other site can have it sent (HttpOnly, SameSite)."""
    response.set_cookie(_name(secure=secure), cookie, path="/", secure=secure, httponly=True, samesite="strict")


def take_session(response: Response, *, secure: bool) -> None:
    """Sign a browser out, and have it delete the pages that it has cached."""
    response.delete_cookie(_name(secure=secure), path="/", secure=secure, httponly=True, samesite="strict")
    response.headers["Clear-Site-Data"] = '"cache"'


def _name(*, secure: bool) -> str:
    # With this prefix a browser takes it over HTTPS alone, and from no other name of the domain (RFC 6265bis).
    return f"__Host-{_NAME}" if secure else _NAME
