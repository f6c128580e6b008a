"""Keeps web pages of others out of a data port, and tells browsers which pages may read the answers (CORS)."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.core.escaping import header_bytes
from headrace.core.security.pages import Pages
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want

_PREFLIGHT = (
    b"access-control-allow-methods: GET, POST\r\n"
    b"access-control-allow-headers: accept, authorization, cache-control, content-encoding, content-type, "
    b"headrace-version, mcp-method, mcp-name, mcp-protocol-version, request-timeout-ms, x-request-id\r\n"
    b"access-control-max-age: 600\r\n"
)
_EXPOSED = b"access-control-expose-headers: headrace-model, retry-after, x-request-id\r\n"


class PageCheck:
    """Looks at the heads of one port. `loopback`: it is reached from this machine alone."""

    def __init__(self, pages: Pages, *, loopback: bool) -> None:
        self._pages = pages
        self._loopback = loopback

    def admit(self, head: RequestHead, fields: Mapping[bytes, bytes]) -> bool:
        """Have the request of a page that may not ask refused; False: nothing else is to be asked about it."""
        told, site = fields.get(b"origin"), fields.get(b"sec-fetch-site")
        if told is None and site is None:
            return True
        origin = told.decode("latin-1") if told is not None else None
        whence = site.decode("latin-1").lower() if site is not None else None
        why = self._pages.refusal(origin, whence, head.host.decode("latin-1"), loopback=self._loopback)
        if why is not None and head.method == b"OPTIONS":
            return True  # does nothing, and a browser stops at an answer that does not allow it: as MLflow answers it
        if why is not None:
            head.target, head.reusable = Target(head.target.want, protocol=head.target.protocol), False
            head.problem, head.problem_code = f"Refused: {why}; list it in gateway.origins.", "PERMISSION_DENIED"
            return False
        if origin is None or not self._pages.allows(origin):
            return True
        head.reusable = False  # its answers have lines that those of others have not
        head.cors = b"access-control-allow-origin: %b\r\nvary: origin\r\n" % header_bytes(origin.encode("latin-1"))
        if head.method == b"OPTIONS":
            head.cors += _PREFLIGHT
            head.target = Target(Want.PREFLIGHT)
            return False
        head.cors += _EXPOSED
        return True
