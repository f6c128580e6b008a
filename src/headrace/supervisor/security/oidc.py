"""Signs people in at an OIDC issuer: what is exchanged with it, and what of it counts."""

from __future__ import annotations

import hmac
import time
from base64 import b64encode
from urllib.parse import quote, urlencode

import msgspec

from headrace.config.security import Client
from headrace.core.security.code_flow import Flow
from headrace.core.security.roles import Grant
from headrace.core.security.tokens import Verifier, granted, parts_of
from headrace.core.security.untrusted import UnknownKey, Untrusted
from headrace.security.asking import Unanswered, aside, ask
from headrace.supervisor.security.issuers import IssuerKeys

_WITHIN_S = 10.0


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


async def who_signed_in(keys: IssuerKeys, client: Client, flow: Flow, code: str) -> Grant:
    """What a user may do who has come back with this code. Raises Unanswered or Untrusted."""
    endpoint = (await keys.discovered()).token_endpoint
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": flow.redirect_uri,
        "code_verifier": flow.verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if client.secret is not None:
        named = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"  # RFC 6749 2.3.1
        headers["Authorization"] = f"Basic {b64encode(named.encode()).decode()}"
    else:
        form["client_id"] = client.id
    sent = urlencode(form).encode()
    status, body = await aside(
        lambda: ask(endpoint, within_s=_WITHIN_S, ca=keys.section.ca, headers=headers, form=sent)
    )
    if status != 200:
        raise Untrusted(f"{keys.section.issuer} does not take this sign-in ({status}).")
    try:
        token = msgspec.json.decode(body, type=_Tokens).id_token.encode()
    except (ValueError, RecursionError):
        raise Unanswered(f"{endpoint} gives no ID token") from None
    try:
        return _judged(keys, client, flow, token)
    except UnknownKey:
        await keys.fetch()
        return _judged(keys, client, flow, token)


def _judged(keys: IssuerKeys, client: Client, flow: Flow, token: bytes) -> Grant:
    """OpenID Connect Core 3.1.3.7."""
    issuer = msgspec.structs.replace(keys.issuer, audiences=(client.id,))
    header, claims = parts_of(token)
    until_s = Verifier(issuer).until_s(token, header, claims, time.time())
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), flow.nonce.encode()):
        raise Untrusted("This token was made for another sign-in.")
    if claims.get("azp", client.id) != client.id:
        raise Untrusted("This token was made for another client.")
    # The session has bounds of its own; a token's few minutes are for those who send it with each request.
    return msgspec.structs.replace(granted(issuer, claims, until_s), until_s=None)
