"""Lets nobody in who does not belong: looks at each head that is read, and has those refused that may not ask.

A head that was seen before on its port is not read again, and so is not looked at again: what was decided of it stands
with it (`Port.heads`), until another `Access` comes or a token ends. So a key is checked once for each head that it is
sent with, and what decides then costs a request nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from headrace.core.security.access import Access, Judge, names_in
from headrace.core.security.roles import Grant
from headrace.core.security.untrusted import UnknownKey, Untrusted
from headrace.gateway.http.targets import PREDICTIONS, Target, Want

if TYPE_CHECKING:
    from headrace.gateway.http.heads import RequestHead

_WHO = "Say who you are: send an API key as 'Authorization: Bearer KEY'."
NOT_YOURS = "You may not do this here; ask who gave you the key for the role, or for the model."


class Client(Protocol):
    """A connection, as far as it says who is at its other end."""

    transport: asyncio.Transport

    def peer(self) -> bytes:
        """The address."""


class Guard:
    """`failures` counts what was refused, by why: missing, wrong, forbidden.

    `forget` has what was decided of heads forgotten, `on_unknown_key` is told which issuer's keys are not the newest.
    """

    def __init__(self, access: Access, forget: Callable[[], None], on_unknown_key: Callable[[str], None]) -> None:
        self._judge = Judge(access)
        self._forget = forget
        self._on_unknown_key = on_unknown_key
        self._ending: asyncio.TimerHandle | None = None
        self.failures = {"missing": 0, "wrong": 0, "forbidden": 0}

    def change(self, access: Access) -> None:
        """Decide by this from now on."""
        self._judge = Judge(access)
        self._forget_all()

    def admit(self, client: Client, port_model: str | None, head: RequestHead, authorization: bytes | None) -> None:
        """Give the head what its sender may see; where it may not be asked, have it answered with 401 or 403."""
        judge = self._judge
        identities: list[str] = []
        if judge.asks_peers and authorization is None:
            head.reusable = False  # the same bytes on another connection may be somebody else's
            identities = self._identities(client, head)
        try:
            who = judge.judge(authorization, identities, time.time())
        except Untrusted as error:
            if isinstance(error, UnknownKey):
                self._on_unknown_key(error.issuer)
            self._refuse(head, "UNAUTHENTICATED", str(error), "wrong")
            return
        if who.until_s is not None:
            self._decide_again(who.until_s, head)
        head.scope = who
        target = head.target
        if _allows(who, target, port_model):
            return
        if target.want is Want.DOCS:
            return  # a page without contents: it asks for these with the key that is typed in
        is_probe = target.want is Want.LIVE or (target.want is Want.HEALTH and target.model == port_model)
        if is_probe and judge.access.open_probes:
            return
        if who.roles or authorization is not None:
            self._refuse(head, "PERMISSION_DENIED", NOT_YOURS, "forbidden")
        else:
            self._refuse(head, "UNAUTHENTICATED", _WHO, "missing")

    def _decide_again(self, until_s: float, head: RequestHead) -> None:
        """Have heads forgotten when the first token ends: once a second at most, and never too late."""
        left_s = int(until_s) - time.time()
        if left_s <= 0:
            head.reusable = False
            return
        loop = asyncio.get_running_loop()
        if self._ending is not None and self._ending.when() <= loop.time() + left_s:
            return
        if self._ending is not None:
            self._ending.cancel()
        self._ending = loop.call_later(left_s, self._forget_all)

    def _forget_all(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self._forget()

    def _identities(self, client: Client, head: RequestHead) -> list[str]:
        """Who a proxy that is trusted says it is, or else the client's certificate."""
        header = self._judge.access.proxy_header
        told = head.watched.get(header.encode()) if header is not None else None
        if told and self._judge.trusts(client.peer().decode()):
            return [told.decode("utf-8", "replace")]
        return names_in(client.transport.get_extra_info("peercert"))

    def _refuse(self, head: RequestHead, code: str, message: str, why: str) -> None:
        self.failures[why] += 1
        head.reusable = False  # so that every one is counted, and none takes the place of a head that is good
        # Not a word of the model: neither its name nor its way of telling errors, which would say that it is there.
        head.target = Target(head.target.want, protocol=head.target.protocol)
        head.problem, head.problem_code = message, code


def _allows(who: Grant, target: Target, port_model: str | None) -> bool:
    """Whether somebody may ask this; what there is not is nobody's secret, once they may ask at all."""
    want, model = target.want, target.model
    if not who.roles:
        return False
    if want in {Want.ASK, Want.FEEDBACK} and model is None:
        return who.has("predict")  # of which model its body says: the gateway asks again when it has read that
    if want in PREDICTIONS or want is Want.FEEDBACK:
        return model is not None and who.predicts(model)
    if model is not None:
        return who.sees(model)
    return port_model is None or who.sees(port_model)
