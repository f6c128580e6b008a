"""Which requests to the admin port another web site may have sent through an operator's browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

# Names that nobody can register in the public DNS: a site that rebinds its own name cannot have one of these.
_PRIVATE_SUFFIXES = (".internal", ".local", ".svc")
_FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_known_host(header: str, names: Collection[str], *, loopback: bool) -> bool:
    """Whether a Host header is one that the admin port answers to, so that no site can point its own name here.

    Addresses, localhost and `names` always are; where the port is not on loopback, so are names without a dot and
    those of private domains.
    """
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and not loopback and ("." not in host or host.endswith(_PRIVATE_SUFFIXES))
    return True


def forgery(method: str, headers: Mapping[str, str], *, form: bool = False) -> str | None:
    """Why another site may have sent a request that changes something; None if it cannot have.

    Browsers add the origin to each such request. Programs do not, and are trusted. `form`: the request comes from a
    form of headrace's, with a token that no other site knows.
    """
    if method in _SAFE_METHODS:
        return None
    site = headers.get("sec-fetch-site")
    if site not in {None, "same-origin", "none"}:
        return f"the browser says that it comes from another site ({site})"
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return f"it comes from {origin}"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORM_TYPES and not form:
        return f"{kind} is what a form on any site can send; send application/json, or no body"
    return None
