"""Which requests a web page may have made in somebody's browser, and which of them may pass.

A page of any site can have the browser that shows it ask what that browser's machine reaches: a model on its localhost,
or in its network. Browsers say where such a request comes from (Origin, Sec-Fetch-Site); programs do not, and pass.
"""

from __future__ import annotations

import msgspec

from headrace.core.admin.origins import is_known_host


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """`origins` are those of pages that may ask (``https://app.example``; ``*``: all). `hosts`: names of this server.

    `hosts` count beside addresses and localhost, in lower case: a page of one of them is this server's own.
    """

    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may ask, and read what is answered."""
        return "*" in self.origins or origin in self.origins

    def refusal(self, origin: str | None, site: str | None, host: str, *, loopback: bool) -> str | None:
        """Why a request may not pass; None: it may. `loopback`: the port is reached from this machine alone."""
        if origin is not None and self.allows(origin):
            return None
        if site in {"cross-site", "same-site"}:
            return f"a page of {origin or 'another site'} asks"
        if origin is None:
            return None
        if origin.partition("://")[2] != host:
            return f"a page of {origin} asks"
        if not is_known_host(host, self.hosts, loopback=loopback):
            return f"a page of {origin} asks, and this server is not known by that name (gateway.hosts)"
        return None
