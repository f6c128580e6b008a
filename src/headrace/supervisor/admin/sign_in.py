"""The page where people sign in to the dashboard: with a key, or at an OIDC issuer."""

from __future__ import annotations

import hmac
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from headrace import __version__
from headrace.core.security import code_flow, sessions
from headrace.core.security.keys import Key
from headrace.core.security.roles import Grant
from headrace.core.security.untrusted import Untrusted
from headrace.security.asking import Unanswered
from headrace.supervisor.admin import session_cookies as cookies
from headrace.supervisor.admin.audit_trail import whence
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.security.access import AccessRules

if TYPE_CHECKING:
    from headrace.config.security import Client
    from headrace.supervisor.security.issuers import IssuerKeys

_MOST_FORM_BYTES = 32 * 1024
_FORM = "application/x-www-form-urlencoded"


class SignIn:
    """`routes` are open without a session. `on_refused` is called with each refused attempt and its reason."""

    def __init__(
        self,
        server: ServerState,
        templates: jinja2.Environment,
        on_refused: Callable[[Scope, str, str], None] | None,
    ) -> None:
        self._server = server
        self._templates = templates
        self._on_refused = on_refused
        self.routes = [
            Route(cookies.SIGN_IN, self._with_rules(self._page)),
            Route(cookies.SIGN_IN, self._with_rules(self._with_key), methods=["POST"]),
            Route(cookies.SIGN_OUT, self._with_rules(self._out), methods=["POST"]),
            Route(f"{cookies.SIGN_IN}/with/{{issuer}}", self._with_rules(self._elsewhere)),
            Route(cookies.RETURN, self._with_rules(self._back)),
        ]

    def _with_rules(self, answer: Callable[[Request, AccessRules], Any]) -> Callable[[Request], Any]:
        async def answering(request: Request) -> Response:
            rules = self._server.access
            if rules is None:
                return RedirectResponse("/", 303)  # everybody may do everything
            response: Response = await answer(request, rules)
            return response

        return answering

    async def _page(self, request: Request, rules: AccessRules) -> Response:
        next_ = code_flow.own_path(request.query_params.get("next", "/"))
        if cookies.signed_in(request.scope, rules, used=True) is not None:
            return RedirectResponse(next_, 303)
        return self._form(request, rules, next_)

    async def _with_key(self, request: Request, rules: AccessRules) -> Response:
        form = await _form_of(request)
        next_ = code_flow.own_path(form.get("next", "/"))
        wait_s = rules.attempts.wait_s(whence(request.scope), time.monotonic())
        if wait_s > 0:
            said = f"Too many sign-ins from your address were refused. Try again in {wait_s:.0f} seconds."
            return self._form(request, rules, next_, said, 429, {"Retry-After": str(int(wait_s) + 1)})
        own = request.cookies.get(cookies.FORM, "")
        if not own or not hmac.compare_digest(_sealed(own, rules), form.get("csrf", "").encode()):
            return self._form(request, rules, next_, "This page was open for too long. Try again.", 403)
        shown = form.get("key", "").strip()
        try:
            grant = rules.judge.by_credentials(f"Bearer {shown}".encode("latin-1", "replace"), time.time())
        except Untrusted as error:
            return self._refused(request, rules, next_, str(error), "wrong", "")
        if grant.until_s is not None:
            said = "A token of an issuer is for programs: it ends after minutes. Sign in at its issuer."
            return self._refused(request, rules, next_, said, "wrong", grant.name)
        return self._signed_in(request, rules, next_, grant, rules.judge.key_of(shown.encode("latin-1", "replace")))

    async def _elsewhere(self, request: Request, rules: AccessRules) -> Response:
        keys = _issuer(rules, request.path_params["issuer"])
        client = keys.section.client if keys is not None else None
        next_ = code_flow.own_path(request.query_params.get("next", "/"))
        if keys is None or client is None:
            return self._form(request, rules, next_, "There is no such issuer to sign in with.", 404)
        secure = cookies.is_secure(request.scope, rules)
        here = f"{'https' if secure else 'http'}://{request.headers['host']}{cookies.RETURN}"
        chance = os.urandom(code_flow.CHANCE_BYTES)
        flow = code_flow.begin(chance, keys.name, client.redirect_uri or here, next_, time.time())
        try:
            endpoint = (await keys.discovered()).authorization_endpoint
        except Unanswered as error:
            return self._form(request, rules, next_, f"You cannot sign in there now: {error}", 503)
        response = RedirectResponse(code_flow.authorization_url(endpoint, flow, client.id, client.scopes), 303)
        # Lax: the issuer is another site, and it sends the browser back here.
        response.set_cookie(
            cookies.FLOW, code_flow.seal(flow, rules.secret), int(code_flow.PATIENCE_S), path=cookies.RETURN,
            secure=secure, httponly=True, samesite="lax",
        )  # fmt: skip
        return response

    async def _back(self, request: Request, rules: AccessRules) -> Response:
        told = request.query_params
        flow = code_flow.opened(request.cookies.get(cookies.FLOW, ""), rules.secret, time.time())
        keys = _issuer(rules, flow.issuer) if flow is not None else None
        client = keys.section.client if keys is not None else None
        same = flow is not None and hmac.compare_digest(told.get("state", "").encode(), flow.state.encode())
        wait_s = rules.attempts.wait_s(whence(request.scope), time.monotonic())
        if flow is None or keys is None or client is None or not same or wait_s > 0:
            return self._refused(request, rules, "/", "This sign-in was not begun here, or took too long.", "wrong", "")
        try:
            grant = await _came_back(keys, client, flow, told)
        except (Untrusted, Unanswered) as error:
            return self._refused(request, rules, flow.next, f"You are not signed in: {error}", "wrong", "")
        response = self._signed_in(request, rules, flow.next, grant, None)
        response.delete_cookie(cookies.FLOW, path=cookies.RETURN)
        return response

    async def _out(self, request: Request, rules: AccessRules) -> Response:
        session = cookies.signed_in(request.scope, rules, used=False)
        if session is not None:
            if not session.permits((await _form_of(request)).get("csrf")):
                return self._form(request, rules, "/", "You are still signed in: sign out on the dashboard.", 403)
            rules.sessions.end(cookies.cookie_of(request.scope, rules))
            self._note("signed out", request, session.grant)
        response = RedirectResponse(cookies.SIGN_IN, 303)
        cookies.take_session(response, secure=cookies.is_secure(request.scope, rules))
        return response

    def _signed_in(self, request: Request, rules: AccessRules, next_: str, grant: Grant, key: Key | None) -> Response:
        if not grant.has("read"):
            says = f"{grant.name} may not see the dashboard: that needs the role read."
            return self._refused(request, rules, next_, says, "forbidden", grant.name)
        cookie = rules.sessions.begin(os.urandom(sessions.CHANCE_BYTES), grant, key, time.monotonic())
        self._note("signed in", request, grant)
        # A page, and not a redirect: a browser that comes from an issuer would not send the cookie along with one.
        page = self._templates.get_template("signed_in.html").render(version=__version__, next=next_)
        response = HTMLResponse(page)
        cookies.give_session(response, cookie, secure=cookies.is_secure(request.scope, rules))
        return response

    def _refused(self, request: Request, rules: AccessRules, next_: str, says: str, why: str, who: str) -> Response:
        rules.attempts.failed(whence(request.scope), time.monotonic())
        rules.refused[why] += 1
        if self._on_refused is not None:
            self._on_refused(request.scope, why, who)
        return self._form(request, rules, next_, says, 403 if why == "forbidden" else 401)

    def _form(
        self,
        request: Request,
        rules: AccessRules,
        next_: str,
        says: str = "",
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Response:
        own = request.cookies.get(cookies.FORM, "")
        if len(own) != 43:
            own = urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
        page = self._templates.get_template("sign_in.html").render(
            version=__version__,
            next=next_,
            csrf=_sealed(own, rules).decode(),
            says=says,
            issuers=[one.name for one in rules.issuers if one.section.client is not None],
        )
        response = HTMLResponse(page, status, headers)
        secure = cookies.is_secure(request.scope, rules)
        response.set_cookie(cookies.FORM, own, path=cookies.SIGN_IN, secure=secure, httponly=True, samesite="strict")
        return response

    def _note(self, what: str, request: Request, grant: Grant) -> None:
        if self._server.audit is not None:
            self._server.audit.note(what, {"who": grant.name, "whence": whence(request.scope)})


def _issuer(rules: AccessRules, name: str) -> IssuerKeys | None:
    return next((one for one in rules.issuers if one.name == name), None)


async def _came_back(keys: IssuerKeys, client: Client, flow: code_flow.Flow, told: Mapping[str, str]) -> Grant:
    """The grants of a user whom the issuer sends back with this answer. Raises Untrusted or Unanswered."""
    if told.get("iss", keys.section.issuer) != keys.section.issuer:  # RFC 9207
        raise Untrusted("Another issuer than the one that was asked has answered.")
    if "code" not in told:
        says = told.get("error_description") or told.get("error") or "nothing"
        raise Untrusted(f"The issuer says: {says[:500]}")
    from headrace.supervisor.security.oidc import who_signed_in  # noqa: PLC0415 - only where there are issuers

    return await who_signed_in(keys, client, flow, told["code"])


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form; empty if the body is no form or is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _sealed(own: str, rules: AccessRules) -> bytes:
    return hmac.new(rules.secret, b"form:" + own.encode("utf-8", "replace"), "sha256").hexdigest().encode()
