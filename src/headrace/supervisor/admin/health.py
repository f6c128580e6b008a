"""The three questions of an orchestrator: is it alive, has it started, can it take traffic; as a whole or for a model.

They are answered on the admin port, by a process that never runs a model. Each takes GET and HEAD.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from headrace.supervisor.admin.error_answers import asked_model
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.state import ServerState

if TYPE_CHECKING:
    from headrace.supervisor.served_model import ServedModel

_IN_FORCE_S = 1.0
"""How long a question waits for gateways to take over a route table: milliseconds, unless one is being replaced."""


def health_routes(server: ServerState) -> list[BaseRoute]:
    """`/livez`, `/startedz`, `/readyz`, and the last two for one model."""

    def asked(request: Request) -> Mapping[str, ServedModel]:
        if "name" not in request.path_params:
            return server.models
        model = asked_model(server, request)
        return {model.name: model}

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def startedz(request: Request) -> Response:
        models = asked(request)
        waiting = {name: model.why_not() for name, model in models.items() if not model.started}
        if waiting or not server.listed:
            return PrintableJSON({"started": False, "waiting_for": waiting}, 503)
        return PrintableJSON({"started": True})

    async def readyz(request: Request) -> Response:
        models = asked(request)
        if server.draining:
            return PrintableJSON({"ready": False, "reason": "draining"}, 503)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IN_FORCE_S):
                await server.gateways.until(lambda: server.gateways.in_force)
        waiting = {name: model.why_not() for name, model in models.items() if not model.ready}
        few = server.config.health.ready == "any" and len(waiting) < len(models)
        if not server.gateways.in_force:
            return PrintableJSON({"ready": False, "reason": "a gateway is being started", "waiting_for": waiting}, 503)
        if (waiting and not few) or not models:
            return PrintableJSON({"ready": False, "waiting_for": waiting}, 503)
        failing = {name: model.answers.failing for name, model in models.items() if model.answers.failing}
        told = {"waiting_for": waiting, "failing": failing}
        return PrintableJSON({"ready": True, **{name: of for name, of in told.items() if of}})

    return [
        Route("/livez", livez),
        Route("/startedz", startedz),
        Route("/startedz/{name}", startedz),
        Route("/readyz", readyz),
        Route("/readyz/{name}", readyz),
    ]
