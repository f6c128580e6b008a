"""The orders that operators may give for a model by the admin API. Each is a POST; the answer says what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.errors import UsageError
from headrace.supervisor.admin.error_answers import Refused, asked_model
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.served_model import ServedModel

MOST_REPLICAS = 1024
_BY_AN_OPERATOR = "asked for by an operator"


def order_routes(server: ServerState) -> list[Route]:
    """`/api/models/NAME/` refresh, rollback, pause, resume, scale and promote."""

    def route(what: str, order: Callable[[ServedModel, Request], Awaitable[str]]) -> Route:
        async def answer(request: Request) -> Response:
            model = asked_model(server, request)
            try:
                return PrintableJSON({"model": model.name, "message": await order(model, request)})
            except UsageError as error:
                raise Refused("NOT_FOUND" if error.code == "NOT_FOUND" else "CONFLICT", str(error)) from None

        return Route(f"/api/models/{{name}}/{what}", answer, methods=["POST"])

    async def refresh(request: Request) -> Response:
        model = asked_model(server, request)
        model.refresh(anew=request.query_params.get("anew") == "true")
        return PrintableJSON({"refreshing": model.name}, 202)

    async def rollback(model: ServedModel, request: Request) -> str:
        _check_seen(model, request)
        return model.main.orders.roll_back(_reason(request), request.query_params.get("to"))

    async def pause(model: ServedModel, request: Request) -> str:
        return model.pause(_reason(request))

    async def resume(model: ServedModel, request: Request) -> str:
        return model.resume(_reason(request))

    async def scale(model: ServedModel, request: Request) -> str:
        asked = request.query_params.get("replicas", "")
        if asked == "auto":
            return model.scale(None)
        replicas = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 4 else 0
        if not 1 <= replicas <= MOST_REPLICAS:
            raise Refused(
                "INVALID_PARAMETER_VALUE", f"replicas: a number from 1 to {MOST_REPLICAS}, or auto, not {asked!r}"
            )
        return model.scale(replicas)

    async def promote(model: ServedModel, request: Request) -> str:
        _check_seen(model, request)
        version = request.query_params.get("version", "")
        if not version:
            raise Refused("INVALID_PARAMETER_VALUE", "version: the number of the version to promote")
        return await model.promote(version)

    return [
        Route("/api/models/{name}/refresh", refresh, methods=["POST"]),
        route("rollback", rollback),
        route("pause", pause),
        route("resume", resume),
        route("scale", scale),
        route("promote", promote),
    ]


def _reason(request: Request) -> str:
    return request.query_params.get("reason", _BY_AN_OPERATOR)


def _check_seen(model: ServedModel, request: Request) -> None:
    """Refuse if the version that serves is not the one that the caller has seen (`from`)."""
    seen, serves = request.query_params.get("from"), model.current.label if model.current else ""
    if seen is not None and seen != serves:
        raise Refused("CONFLICT", f"{serves or 'nothing'} serves now, not {seen}")
