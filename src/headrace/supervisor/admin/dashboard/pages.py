"""The dashboard's routes: two pages, their live parts as events, and the files that they need."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from headrace.core.escaping import printable_lines
from headrace.supervisor.admin.dashboard import views, words
from headrace.supervisor.admin.dashboard.listing import View
from headrace.supervisor.admin.dashboard.live import Live
from headrace.supervisor.admin.dashboard.one_model import one_model
from headrace.supervisor.admin.error_answers import asked_model
from headrace.supervisor.admin.examples import fields_of, made_up, own_example
from headrace.supervisor.admin.orders import MOST_REPLICAS
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.session_cookies import SESSION
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.admin.try_request import MAX_REQUEST_BYTES, Trying
from headrace.supervisor.admin.version_memory import VersionMemory
from headrace.supervisor.served_model import ServedModel

_SHARED_S = 0.25
_HERE = Path(__file__).parent
_MOST_EXAMPLE_CHARS = 64 * 1024


class Dashboard:
    """`routes` are what an application mounts, `templates` are those of its pages."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._trying = Trying(server)
        self.templates = _templates()
        self._live = Live(server)
        self._memory = VersionMemory()
        self._rendered: dict[ServedModel | View, tuple[float, str]] = {}
        self._histories: dict[str, tuple[object, list[dict[str, Any]]]] = {}
        self.routes: list[BaseRoute] = [
            Route("/", self._all),
            Route("/models/{name}", self._one),
            Route("/events", self._all_live),
            Route("/models/{name}/events", self._one_live),
            Route("/api/models/{name}/example", self._example),
            Route("/api/models/{name}/try", self._try, methods=["POST"]),
            Route("/favicon.ico", lambda _: RedirectResponse("/static/icon.svg")),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]

    async def _all(self, request: Request) -> Response:
        return self._page(request, "overview.html", await self._data(_view(request)))

    async def _one(self, request: Request) -> Response:
        name = request.path_params["name"]
        model = self._server.models.get(name)
        if model is None:
            return self._page(request, "missing.html", {**views.top(self._server), "name": name}, 404)
        data = {**await self._data(model), **await asyncio.to_thread(_example_of, model)}
        return self._page(request, "model.html", data)

    def _page(self, request: Request, template: str, data: dict[str, Any], status: int = 200) -> Response:
        """A page, for who asks."""
        page = self.templates.get_template(template).render(**data, session=request.scope.get(SESSION))
        return HTMLResponse(page, status)

    async def _all_live(self, request: Request) -> Response:
        view = _view(request)
        return self._live.answer(lambda: self._fragment(view), lambda: _moving(self._server.models.values()), "")

    async def _one_live(self, request: Request) -> Response:
        name = asked_model(self._server, request).name

        async def render() -> str | None:
            model = self._server.models.get(name)
            return await self._fragment(model) if model is not None else None

        def moving() -> bool:
            model = self._server.models.get(name)
            return model is not None and _moving([model])

        return self._live.answer(render, moving, f"{name} is not served any more")

    async def _fragment(self, shown: ServedModel | View) -> str:
        """The live part; pages that show the same within a moment share it."""
        now_s = time.monotonic()
        self._rendered = {of: held for of, held in self._rendered.items() if now_s - held[0] <= _SHARED_S}
        if shown not in self._rendered:
            template = self.templates.get_template("_overview.html" if isinstance(shown, View) else "_model.html")
            html = template.render(await self._data(shown))
            self._rendered[shown] = time.monotonic(), html
            return html
        return self._rendered[shown][1]

    async def _example(self, request: Request) -> Response:
        model = asked_model(self._server, request)
        own = await asyncio.to_thread(own_example, model)
        example = own if own is not None else made_up(model)
        return PrintableJSON({"model": model.name, "logged": own is not None, "example": example})

    async def _try(self, request: Request) -> Response:
        return await self._trying.answer(request, asked_model(self._server, request))

    async def _data(self, shown: ServedModel | View) -> dict[str, Any]:
        """What a page shows. A model that is gone by the end is shown as it was."""
        models = list(self._server.models.values())
        asked = models if isinstance(shown, View) else [shown]
        histories = await asyncio.to_thread(self._read_histories, asked)
        for name in self._histories.keys() - self._server.models.keys():
            self._histories.pop(name, None)
        self._memory.look((v for m in asked for v in m.versions), all_there_are=isinstance(shown, View))
        if isinstance(shown, View):
            return views.overview(self._server, histories, shown, self._memory)
        return one_model(self._server, shown, histories[shown.name], self._memory)

    def _read_histories(self, models: list[ServedModel]) -> views.Histories:
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


def _view(request: Request) -> View:
    return View.asked(request.query_params, request.query_params.getlist("closed"))


def _moving(models: Any) -> bool:
    """Whether a version is on its way up: then it is worth looking more often."""
    return any(model.main.candidate is not None for model in models)


def _example_of(model: ServedModel) -> dict[str, Any]:
    fields = fields_of(model)
    own, invented = own_example(model), fields.made_up()
    example = own if own is not None else invented
    text = "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)
    return {
        "fields": fields,
        "example": text if len(text) <= _MOST_EXAMPLE_CHARS else "",
        "example_kind": "made_up" if own is None and text else "own" if own is not None else "none",
        "made_up": "" if invented is None else json.dumps(invented, indent=2, ensure_ascii=False),
        "try_most_kib": MAX_REQUEST_BYTES // 1024,
        "most_replicas": MOST_REPLICAS,
    }


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
    shown = (words.rate, words.milliseconds, words.share, words.ago, words.span, words.moment, words.machine)
    for filter_ in (*shown, words.size, words.mean):
        made.filters[filter_.__name__] = filter_
    return made
