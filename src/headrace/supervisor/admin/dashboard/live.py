"""A page's live part: what has changed since it was sent, as server-sent events, for a bounded number of pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from headrace import __version__
from headrace.core.admin.line_delta import delta
from headrace.supervisor.admin.error_answers import Refused
from headrace.supervisor.admin.state import ServerState

MOST_LISTENERS = 32
_MOVING_S = 0.5
_STILL_S = 1.0


class Live:
    """Counts the pages that are open, and feeds them."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._now = 0

    def answer(self, render: Callable[[], Awaitable[str | None]], moving: Callable[[], bool], gone: str) -> _Events:
        """Send what `render` gives now, and again as it changes, until it gives None: then `gone` is said.

        `moving` says whether it is worth looking more often. Raises Refused when there are too many pages.
        """
        if self._server.draining:
            raise Refused("TEMPORARILY_UNAVAILABLE", "headrace is stopping")
        if self._now >= MOST_LISTENERS:
            raise Refused("REQUEST_LIMIT_EXCEEDED", f"{MOST_LISTENERS} pages are open already")
        return _Events(self._events(render, moving, gone), self)

    def count(self, more: int) -> None:
        """A page has been opened (1) or closed (-1)."""
        self._now += more

    async def _events(
        self, render: Callable[[], Awaitable[str | None]], moving: Callable[[], bool], gone: str
    ) -> AsyncIterator[str]:
        sent: list[str] = []
        yield _event("hello", __version__)
        while True:
            news = self._server.sampler.news
            if self._server.draining:
                return
            html = await render()
            if html is None:
                yield _event("gone", gone)
                return
            lines = html.split("\n")
            if lines != sent:
                yield _event("live", json.dumps(delta(sent, lines), ensure_ascii=False, separators=(",", ":")))
                sent = lines
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MOVING_S if moving() else _STILL_S):
                    await news.wait()


class _Events(StreamingResponse):
    """The events, which count from the moment that they are answered, whether they are ever read or not."""

    def __init__(self, events: AsyncIterator[str], live: Live) -> None:
        super().__init__(events, media_type="text/event-stream")
        live.count(1)
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the events end, or the page is closed."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.count(-1)


def _event(kind: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: {kind}\n{lines}\n"
