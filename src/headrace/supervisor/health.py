"""The three questions of an orchestrator: is it alive, has it started, can it take traffic; as a whole or for a model.

They are answered on the admin port, by a process that never runs a model. Each takes GET and HEAD.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from headrace.supervisor.printable_json import PrintableJSON
from headrace.supervisor.refusals import asked_model

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor
    from headrace.supervisor.models import ServedModel

_IN_FORCE_S = 1.0
"""How long a question waits for gateways to take over a route table: milliseconds, unless one is being replaced."""


def health_routes(supervisor: Supervisor) -> list[BaseRoute]:
    """`/livez`, `/startedz`, `/readyz`, and the last two for one model."""

    def asked(request: Request) -> dict[str, ServedModel]:
        if "name" not in request.path_params:
            return supervisor.models
        model = asked_model(supervisor, request)
        return {model.name: model}

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def startedz(request: Request) -> Response:
        models = asked(request)
        waiting = {name: model.why_not() for name, model in models.items() if not model.started}
        if waiting or not supervisor.listed:
            return PrintableJSON({"started": False, "waiting_for": waiting}, 503)
        return PrintableJSON({"started": True})

    async def readyz(request: Request) -> Response:
        models = asked(request)
        if supervisor.draining:
            return PrintableJSON({"ready": False, "reason": "draining"}, 503)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IN_FORCE_S):
                await supervisor.gateways.until(lambda: supervisor.gateways.in_force)
        waiting = {name: model.why_not() for name, model in models.items() if not model.ready}
        few = supervisor.config.health.ready == "any" and len(waiting) < len(models)
        if not supervisor.gateways.in_force:
            return PrintableJSON({"ready": False, "reason": "a gateway is being started", "waiting_for": waiting}, 503)
        if (waiting and not few) or not models:
            return PrintableJSON({"ready": False, "waiting_for": waiting}, 503)
        return PrintableJSON({"ready": True, **({"waiting_for": waiting} if waiting else {})})

    return [
        Route("/livez", livez),
        Route("/startedz", startedz),
        Route("/startedz/{name}", startedz),
        Route("/readyz", readyz),
        Route("/readyz/{name}", readyz),
    ]
