"""What an address of a served model looks like. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from headrace.client.errors import BadRequest

_HOST_AND_PORT = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]+(?:/.*)?")


def with_scheme(address: str) -> str:
    """`localhost:5001` as the URL that it means; anything else as it is."""
    return f"http://{address}" if _HOST_AND_PORT.fullmatch(address) else address


def check_address(address: str) -> str:
    """Return an http(s) URL without what stands behind its path; raises BadRequest if it is none.

    `localhost:5001` is one without its scheme.
    """
    address = with_scheme(address)
    if any(sign <= " " or sign == "\x7f" for sign in address):
        raise BadRequest(f"{address!r} is not an address: it has a blank or a control character in it")
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise BadRequest(f"{address!r} is not an address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadRequest(f"{address!r} is not an address; write for example http://localhost:5001")
    if parts.query or parts.fragment:
        raise BadRequest(f"{address!r}: an address has no query and no fragment")
    return address.rstrip("/").removesuffix("/invocations").rstrip("/")


def without_credentials(url: str) -> str:
    """`url` as it may be shown: a name and a password in it belong in no log."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def is_loopback(url: str) -> bool:
    """Whether `url` leads to this machine itself."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
