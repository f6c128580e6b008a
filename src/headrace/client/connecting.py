"""From an address to a client: served models by http(s) URLs, others loaded in this process."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from headrace.client.addresses import with_scheme
from headrace.client.asynchronous import AsyncClient
from headrace.client.blocking import Client
from headrace.client.credentials import credentials
from headrace.client.errors import BadRequest
from headrace.client.options import Options, Overrides
from headrace.client.remote import Remote

if TYPE_CHECKING:
    from headrace.client.local import LocalModel

Certificate = str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]
Address = str | os.PathLike[str] | Sequence[str]


def connect(
    address: Address,
    *,
    tracking_uri: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    cert: Certificate | None = None,
    token: str | None = None,
    **options: Unpack[Overrides],
) -> Client:
    """Return a client for a model. Nothing is sent yet; a model in this process is loaded now.

    `address` is an http(s) URL or HOST:PORT, a list of them (several servers of the same model), or a model URI:
    ``models:/...``, ``runs:/...``, a path. `tracking_uri` is where the registry of a model URI is (None: what MLflow is
    told by its environment), `options` are those of `Options`.

    `verify` is a context, the path of a PEM file with the authorities to trust, True (those of the file that
    HEADRACE_SERVER_CERT_PATH names, or else the machine's), or False. `cert` is the path of a PEM file with our
    certificate and its key, or of both (None: HEADRACE_CLIENT_CERT_PATH), `token` an API key, which is sent as
    ``Authorization: Bearer`` (None: HEADRACE_TOKEN).

    Raises BadRequest for an address that is none and for files that are wrong, and for a model in this process
    Unavailable or ModelError if it cannot be brought or loaded.
    """
    urls, chosen = _urls(address), Options().but(options)
    if urls is None:
        return Client(_load(_uri(address), tracking_uri), chosen)
    chosen, context = _shown(urls, chosen, verify, cert, token)
    return Client(lambda: Remote(urls, chosen, verify=context), chosen)


async def aconnect(
    address: Address,
    *,
    tracking_uri: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    cert: Certificate | None = None,
    token: str | None = None,
    **options: Unpack[Overrides],
) -> AsyncClient:
    """`connect` for asyncio: the client belongs to the running event loop; a local model loads in a thread."""
    urls, chosen = _urls(address), Options().but(options)
    if urls is None:
        return AsyncClient(await asyncio.to_thread(_load, _uri(address), tracking_uri), chosen)
    chosen, context = _shown(urls, chosen, verify, cert, token)
    return AsyncClient(Remote(urls, chosen, verify=context), chosen)


def _shown(
    urls: tuple[str, ...],
    options: Options,
    verify: ssl.SSLContext | str | bool,  # noqa: FBT001 - as httpx has it
    cert: Certificate | None,
    token: str | None,
) -> tuple[Options, ssl.SSLContext | bool]:
    """(the options with the token, what handshakes go by); raises BadRequest for files that are wrong."""
    ca = verify if isinstance(verify, str) else None
    certificate, key = cert if isinstance(cert, tuple) else (cert, None)
    shown = credentials(token, ca, certificate, key, environ=os.environ)
    # Who sends a header of this name knows better; so does who has a name and a password in the address.
    if not any(name.lower() == "authorization" for name in options.headers) and not any("@" in url for url in urls):
        options = options.but({"headers": shown.headers})
    if isinstance(verify, ssl.SSLContext) or not verify or not any(url.lower().startswith("https") for url in urls):
        return options, verify if isinstance(verify, ssl.SSLContext) else bool(verify)
    return options, shown.context() if shown.has_files else True


def _urls(address: Address) -> tuple[str, ...] | None:
    """The URLs in `address`, None if it is a model URI."""
    if isinstance(address, str):
        url = with_scheme(address)
        return (url,) if _is_url(url) else None
    if isinstance(address, os.PathLike):
        return None
    given: object = address  # callers without a type checker give anything
    if not isinstance(given, Sequence) or isinstance(given, (bytes, bytearray)):
        raise BadRequest(f"an address is a text, a path or a list of texts, got {type(given).__name__}")
    urls = tuple(with_scheme(one) for one in given if isinstance(one, str))
    if not given:
        raise BadRequest("no address was given")
    if len(urls) < len(given) or not all(map(_is_url, urls)):
        raise BadRequest("several addresses must all be http(s) URLs of servers of the same model")
    return urls


def _is_url(text: object) -> bool:
    return isinstance(text, str) and text[:8].lower().startswith(("http://", "https://"))


def _uri(address: Address) -> str:
    """A model URI; only a single address is one."""
    return os.fspath(address) if isinstance(address, os.PathLike) else str(address)


def _load(uri: str, tracking_uri: str | None) -> LocalModel:
    from headrace.client.local import LocalModel

    return LocalModel(uri, tracking_uri)
