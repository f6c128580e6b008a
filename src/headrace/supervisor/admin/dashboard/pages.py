"""The dashboard's routes: two pages, their live parts as events, and the files that they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from headrace import __version__
from headrace.core.escaping import printable_lines
from headrace.supervisor.admin.dashboard import views, words
from headrace.supervisor.admin.error_answers import Refused, asked_model
from headrace.supervisor.admin.examples import made_up, own_example
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.admin.try_request import MAX_REQUEST_BYTES, Trying
from headrace.supervisor.served_model import ServedModel

MOST_LISTENERS = 32
_MOVING_S = 0.5
_STILL_S = 1.0
_HERE = Path(__file__).parent
_MOST_EXAMPLE_CHARS = 64 * 1024


@dataclass
class _Listeners:
    """How many pages have their live part open now."""

    now: int = 0


class Dashboard:
    """`routes` are what an application mounts."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._trying = Trying(server)
        self._templates = _templates()
        self._listeners = _Listeners()
        self._rendered: dict[str | None, tuple[float, str]] = {}
        self._histories: dict[str, tuple[object, list[dict[str, Any]]]] = {}
        self.routes: list[BaseRoute] = [
            Route("/", self._all),
            Route("/models/{name}", self._one),
            Route("/events", self._events),
            Route("/models/{name}/events", self._events),
            Route("/api/models/{name}/example", self._example),
            Route("/api/models/{name}/try", self._try, methods=["POST"]),
            Route("/favicon.ico", lambda _: RedirectResponse("/static/icon.svg")),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    async def _all(self, _: Request) -> Response:
        return HTMLResponse(self._templates.get_template("overview.html").render(await self._data(None)))

    async def _one(self, request: Request) -> Response:
        name = request.path_params["name"]
        model = self._server.models.get(name)
        if model is None:
            page = self._templates.get_template("missing.html")
            return HTMLResponse(page.render(**views.top(self._server), name=name), 404)
        data = {**await self._data(model), **await asyncio.to_thread(_example_of, model)}
        return HTMLResponse(self._templates.get_template("model.html").render(data))

    async def _events(self, request: Request) -> Response:
        name = request.path_params.get("name")
        if name is not None:
            asked_model(self._server, request)
        if self._server.draining:
            raise Refused("TEMPORARILY_UNAVAILABLE", "headrace is stopping")
        if self._listeners.now >= MOST_LISTENERS:
            raise Refused("REQUEST_LIMIT_EXCEEDED", f"{MOST_LISTENERS} pages are open already")
        return _Events(self._live(name), self._listeners)

    async def _live(self, name: str | None) -> AsyncIterator[str]:
        """The live part of a page, now and again as it changes; ends when the model goes, or headrace does."""
        sent = ""
        yield f"event: hello\ndata: {__version__}\n\n"
        while True:
            news = self._server.sampler.news
            if self._server.draining:
                return
            model = self._server.models.get(name) if name is not None else None
            if name is not None and model is None:
                yield _event("gone", f"{name} is not served any more")
                return
            html = await self._fragment(model)
            if html != sent:
                yield _event("live", html)
                sent = html
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MOVING_S if self._moving(model) else _STILL_S):
                    await news.wait()

    async def _fragment(self, model: ServedModel | None) -> str:
        """The live part; pages that show the same within half a second share it."""
        name = model.name if model is not None else None
        held_s, html = self._rendered.get(name, (-math.inf, ""))
        if time.monotonic() - held_s > _MOVING_S / 2:
            template = self._templates.get_template("_model.html" if model is not None else "_overview.html")
            html = template.render(await self._data(model))
            self._rendered[name] = time.monotonic(), html
        return html

    def _moving(self, model: ServedModel | None) -> bool:
        """Whether a version is on its way up: then it is worth looking more often."""
        models = self._server.models.values() if model is None else [model]
        return any(one.main.candidate is not None for one in models)

    async def _example(self, request: Request) -> Response:
        model = asked_model(self._server, request)
        own = await asyncio.to_thread(own_example, model)
        example = own if own is not None else made_up(model)
        return PrintableJSON({"model": model.name, "logged": own is not None, "example": example})

    async def _try(self, request: Request) -> Response:
        return await self._trying.answer(request, asked_model(self._server, request))

    async def _data(self, model: ServedModel | None) -> dict[str, Any]:
        """What a page shows. A model that is gone by the end is shown as it was."""
        models = self._server.models
        entries = await asyncio.to_thread(self._entries, [model] if model is not None else [*models.values()])
        for name in {*self._histories, *self._rendered}:
            if name is not None and name not in models:
                self._histories.pop(name, None)
                self._rendered.pop(name, None)
        if model is None:
            return views.overview(self._server, entries)
        return views.one_model(self._server, model, entries[model.name])

    def _entries(self, models: list[ServedModel]) -> views.Entries:
        """Every model's history, read only where its file has changed."""
        found = {}
        for model in models:
            mark = model.history.mark()
            held, entries = self._histories.get(model.name, (None, []))
            if held != mark:
                entries = model.history.last()
                self._histories[model.name] = mark, entries
            found[model.name] = entries
        return found


class _Events(StreamingResponse):
    """A page's live part, which is a listener from the moment it is answered, whether it is ever read or not."""

    def __init__(self, events: AsyncIterator[str], listeners: _Listeners) -> None:
        super().__init__(events, media_type="text/event-stream")
        listeners.now += 1
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the events end, or the page is closed."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.now -= 1


def _example_of(model: ServedModel) -> dict[str, Any]:
    own = own_example(model)
    example = own if own is not None else made_up(model)
    text = "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)
    return {
        "example": text if len(text) <= _MOST_EXAMPLE_CHARS else "",
        "example_kind": "made_up" if own is None and text else "own" if own is not None else "none",
        "try_most_kib": MAX_REQUEST_BYTES // 1024,
    }


def _event(kind: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() if line.strip())
    return f"event: {kind}\n{lines}\n"


def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # What is no markup of ours is shown as any other output is: nothing turns the direction of writing.
        finalize=lambda value: printable_lines(value) if type(value) is str else value,
    )
    for filter_ in (words.rate, words.milliseconds, words.share, words.ago, words.span, words.moment, words.machine):
        made.filters[filter_.__name__] = filter_
    return made
