"""From an address to a client: served models by http(s) URLs, others loaded in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from headrace.client.addresses import with_scheme
from headrace.client.asynchronous import AsyncClient
from headrace.client.blocking import Client
from headrace.client.errors import BadRequest
from headrace.client.options import Options, Overrides
from headrace.client.remote import Remote

if TYPE_CHECKING:
    import ssl

    from headrace.client.local import LocalModel

Address = str | os.PathLike[str] | Sequence[str]


def connect(
    address: Address,
    *,
    tracking_uri: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    **options: Unpack[Overrides],
) -> Client:
    """Return a client for a model. Nothing is sent yet; a model in this process is loaded now.

    `address` is an http(s) URL or HOST:PORT, a list of them (several servers of the same model), or a model URI:
    ``models:/...``, ``runs:/...``, a path. `tracking_uri` is where the registry of a model URI is (None: what MLflow is
    told by its environment), `verify` is httpx's, `options` are those of `Options`. Raises BadRequest for an address
    that is none, and for a model in this process Unavailable or ModelError if it cannot be brought or loaded.
    """
    urls, chosen = _urls(address), Options().but(options)
    if urls is None:
        return Client(_load(_uri(address), tracking_uri), chosen)
    return Client(lambda: Remote(urls, chosen, verify=verify), chosen)


async def aconnect(
    address: Address,
    *,
    tracking_uri: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    **options: Unpack[Overrides],
) -> AsyncClient:
    """`connect` for asyncio: the client belongs to the running event loop; a local model loads in a thread."""
    urls, chosen = _urls(address), Options().but(options)
    if urls is None:
        return AsyncClient(await asyncio.to_thread(_load, _uri(address), tracking_uri), chosen)
    return AsyncClient(Remote(urls, chosen, verify=verify), chosen)


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
