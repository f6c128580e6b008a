"""Asks another server over HTTPS, without trusting it further than it must be: bounded in time and size.

`ask` waits, so it is called in a thread: `aside` has one, which keeps nobody from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from headrace.core.security.addresses import is_safe_url

T = TypeVar("T")

_MOST_BYTES = 1 << 20
_PIECE_BYTES = 64 * 1024


class Unanswered(Exception):
    """There was no answer, or none that can be used; the message says why, and names the address."""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    body: bytes


def ask(
    url: str,
    *,
    within_s: float,
    ca: Path | None = None,
    headers: Mapping[str, str] | None = None,
    form: bytes | None = None,
) -> Answer:
    """GET `url`, or POST `form` there; redirects are not followed. Raises Unanswered.

    `ca`: the authorities of its certificate, instead of those of the machine. An address that anybody on the way could
    answer for is not asked.
    """
    if not is_safe_url(url):
        raise Unanswered(f"{url!r} is no https:// address")
    until_s = time.monotonic() + within_s
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        asked = urllib.request.Request(url, form, {"Accept": "application/json", **(headers or {})})  # noqa: S310 - safe
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
        with opener.open(asked, timeout=within_s) as response:
            return Answer(response.status, _read(response, until_s))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _read(error, until_s))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unanswered(f"{url} does not answer: {reason}") from None


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns or raises, in a thread of its own; who is cancelled, or ends, does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if not done.cancelled():
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        told: tuple[T | None, Exception | None]
        try:
            told = work(), None
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            told = None, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return await done


def _read(response: Any, until_s: float) -> bytes:
    """The body. A server that trickles has the time that it has, and no more. Raises OSError."""
    found = b""
    while piece := response.read1(_PIECE_BYTES):
        found += piece
        if len(found) > _MOST_BYTES:
            raise OSError("it sends too much")
        if time.monotonic() > until_s:
            raise TimeoutError("it takes too long")
    return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Called by urllib: whoever is asked says who may be let in, and hands that to nobody."""
