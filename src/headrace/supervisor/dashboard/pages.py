"""The dashboard's routes: two pages, their live parts as events, and the files that they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from headrace import __version__
from headrace.supervisor.dashboard import views, words
from headrace.supervisor.examples import made_up, own_example
from headrace.supervisor.models import ServedModel
from headrace.supervisor.trying import MAX_REQUEST_BYTES, Trying

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor

MOST_LISTENERS = 32
_MOVING_S = 0.5
_STILL_S = 1.0
_HERE = Path(__file__).parent
_MOST_EXAMPLE_CHARS = 64 * 1024


class Dashboard:
    """`routes` are what an application mounts."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._trying = Trying(supervisor)
        self._templates = _templates()
        self._listeners = 0
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
        if name not in self._supervisor.models:
            page = self._templates.get_template("missing.html")
            return HTMLResponse(page.render(**views.top(self._supervisor), name=name), 404)
        model = self._supervisor.models[name]
        data = {**await self._data(name), **await asyncio.to_thread(_example_of, model)}
        return HTMLResponse(self._templates.get_template("model.html").render(data))

    async def _events(self, request: Request) -> Response:
        name = request.path_params.get("name")
        if name is not None and name not in self._supervisor.models:
            return JSONResponse({"error_code": "NOT_FOUND", "message": "no such model"}, 404)
        if self._supervisor.draining:
            return JSONResponse({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "headrace is stopping"}, 503)
        if self._listeners >= MOST_LISTENERS:
            message = f"{MOST_LISTENERS} pages are open already"
            return JSONResponse({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": message}, 429)
        return StreamingResponse(self._live(name), media_type="text/event-stream")

    async def _live(self, name: str | None) -> AsyncIterator[str]:
        """The live part of a page, now and again as it changes; ends when the model goes, or headrace does."""
        self._listeners += 1
        sent = ""
        try:
            yield f"event: hello\ndata: {__version__}\n\n"
            while not self._supervisor.draining:
                if name is not None and name not in self._supervisor.models:
                    yield _event("gone", f"{name} is not served any more")
                    return
                html = await self._fragment(name)
                if html != sent:
                    yield _event("live", html)
                    sent = html
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MOVING_S if self._moving(name) else _STILL_S):
                        await self._supervisor.recorder.news()
        finally:
            self._listeners -= 1

    async def _fragment(self, name: str | None) -> str:
        """The live part; pages that show the same within half a second share it."""
        held_s, html = self._rendered.get(name, (-math.inf, ""))
        if time.monotonic() - held_s > _MOVING_S / 2:
            template = self._templates.get_template("_model.html" if name is not None else "_overview.html")
            html = template.render(await self._data(name))
            self._rendered[name] = time.monotonic(), html
        return html

    def _moving(self, name: str | None) -> bool:
        """Whether a version is on its way up: then it is worth looking more often."""
        models = self._supervisor.models
        return any(m.main.candidate is not None for m in (models.values() if name is None else [models[name]]))

    async def _example(self, request: Request) -> Response:
        model = self._supervisor.models.get(request.path_params["name"])
        if model is None:
            return JSONResponse({"error_code": "NOT_FOUND", "message": "no such model"}, 404)
        own = await asyncio.to_thread(own_example, model)
        example = own if own is not None else made_up(model)
        return JSONResponse({"model": model.name, "logged": own is not None, "example": example})

    async def _try(self, request: Request) -> Response:
        model = self._supervisor.models.get(request.path_params["name"])
        if model is None:
            return JSONResponse({"error_code": "NOT_FOUND", "message": "no such model"}, 404)
        return await self._trying.answer(request, model)

    async def _data(self, name: str | None) -> dict[str, Any]:
        models = self._supervisor.models
        wanted = models if name is None else {name: models[name]}
        entries = await asyncio.to_thread(self._entries, list(wanted.values()))
        if name is None:
            return views.overview(self._supervisor, entries)
        return views.one_model(self._supervisor, models[name], entries[name])

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
    )
    for filter_ in (words.rate, words.milliseconds, words.share, words.ago, words.span, words.moment, words.machine):
        made.filters[filter_.__name__] = filter_
    return made
