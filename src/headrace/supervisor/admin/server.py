"""The admin port: health for orchestrators, and the state of every model. Never on a data port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Generator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.config.tree import Admin
from headrace.core.admin.webhooks import MAX_BODY_BYTES, Rejected
from headrace.core.errors import HeadraceError, UsageError
from headrace.supervisor.admin.access_check import WHO, AccessCheck
from headrace.supervisor.admin.audit_trail import AuditTrail, RefusalNotes
from headrace.supervisor.admin.collector import Readings, processes_of
from headrace.supervisor.admin.dashboard.pages import Dashboard
from headrace.supervisor.admin.error_answers import Refused, answer_refused, asked_model
from headrace.supervisor.admin.health import health_routes
from headrace.supervisor.admin.orders import order_routes
from headrace.supervisor.admin.origin_check import Guard
from headrace.supervisor.admin.overview import describe_all, describe_model, describe_recent
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.process_usage import describe
from headrace.supervisor.admin.sign_in import SignIn
from headrace.supervisor.admin.state import ServerState
from headrace.telemetry.exposition import exposition

FOLLOWED = "another serves the port from now on"
_PATIENCE_S = 10.0
"""How long who has connected to a server that another follows has for the first request: it holds nobody up."""


def make_app(server: ServerState) -> Starlette:
    """The admin application: health, metrics, and the state of every model."""
    readings = Readings(server)

    async def metrics(_: Request) -> Response:
        samples = await readings.samples()
        # In a thread: with a hundred models it takes a tenth of a second, and the probes are answered here, too.
        text = await asyncio.to_thread(exposition, samples)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(_: Request) -> Response:
        return PrintableJSON(describe_all(server))

    async def one_model(request: Request) -> Response:
        return PrintableJSON(describe_model(server, asked_model(server, request)))

    async def history(request: Request) -> Response:
        model = asked_model(server, request)
        return PrintableJSON(await asyncio.to_thread(model.history.last))

    async def errors(request: Request) -> Response:
        return PrintableJSON(asked_model(server, request).errors())

    async def recent(request: Request) -> Response:
        return PrintableJSON(describe_recent(server, asked_model(server, request).name))

    async def mlflow_hook(request: Request) -> Response:
        if server.webhooks is None:
            raise Refused("NOT_FOUND", "set registry.webhook_secret first")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise Refused("BODY_TOO_LARGE", "no webhook is so large")
        try:
            server.webhooks.verify(request.headers, body, time.time())
            said = json.loads(body)["data"]["name"]
            name = said if isinstance(said, str) else None
        except Rejected as error:
            raise Refused("UNAUTHENTICATED", str(error)) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            name = None  # signed, and about no model that we know of: about all of them, then
        told = [m.name for m in server.models.values() if name is None or m.registered_name in {None, name}]
        for model in told:
            server.models[model].refresh()
        if server.wildcard is not None:
            server.wildcard.refresh()
        return PrintableJSON({"refreshing": told}, 202)

    async def processes(_: Request) -> Response:
        return PrintableJSON({"processes": await asyncio.to_thread(describe, list(processes_of(server)))})

    async def compared(_: Request) -> Response:
        return PrintableJSON({**await server.reloads.compare(), **server.changes()})

    async def reload(request: Request) -> Response:
        try:
            done = await server.reloads.reload(str(request.scope.get(WHO, "an operator")))
        except UsageError as error:
            raise Refused("CONFLICT", str(error)) from None
        return PrintableJSON({**done, **server.changes()})

    async def reloads(_: Request) -> Response:
        return PrintableJSON(await asyncio.to_thread(server.reloads.past))

    admin = server.config.admin or Admin()
    audit = server.audit
    on_refused = RefusalNotes(audit).note if audit is not None else None
    # Who may ask can change while a request comes, so it is looked up for each.
    checks = [Middleware(AccessCheck, rules=lambda: server.access, on_refused=on_refused)]
    if audit is not None:
        checks.append(Middleware(AuditTrail, server=server, audit=audit))
    dashboard = Dashboard(server)
    return Starlette(
        routes=[
            *health_routes(server),
            Route("/metrics", metrics),
            Route("/api/processes", processes),
            Route("/api/models", models),
            Route("/api/models/{name}", one_model),
            *order_routes(server),
            Route("/api/models/{name}/history", history),
            Route("/api/models/{name}/errors", errors),
            Route("/api/models/{name}/recent", recent),
            Route("/api/reload", compared),
            Route("/api/reload", reload, methods=["POST"]),
            Route("/api/reload/history", reloads),
            Route("/hooks/mlflow", mlflow_hook, methods=["POST"]),
            *dashboard.routes,
            *SignIn(server, dashboard.templates, on_refused).routes,
        ],
        middleware=[Middleware(Guard, host=admin.host, names=admin.hosts), *checks],
        exception_handlers={HeadraceError: answer_refused},
    )


class _Server(uvicorn.Server):
    """uvicorn would take the signals for itself; they are the supervisor's.

    And it would cut off who has connected and not asked yet: their first request is awaited, for `patience_s`.
    """

    patience_s = 0.3

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        until_s = time.monotonic() + self.patience_s
        await asyncio.sleep(0)  # who was accepted by then is known after that
        connections = self.server_state.connections
        while any(_has_not_asked(one) for one in connections) and time.monotonic() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # uvicorn tells of nothing that could be awaited
        await super().shutdown(sockets)


def _has_not_asked(connection: object) -> bool:
    return getattr(connection, "cycle", None) is None


async def serve_admin(server: ServerState, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Serve the admin application on a bound socket until cancelled; what it answers then has three seconds.

    `tls` None: by plain HTTP. Cancelled with the message `FOLLOWED` it leaves who comes to another on the same socket.
    """
    config = uvicorn.Config(
        make_app(server), log_config=None, access_log=False, lifespan="off", http="h11", ws="none",
        timeout_graceful_shutdown=3, proxy_headers=False,
    )  # fmt: skip # uvicorn would believe whoever is on this machine that they ask for another address
    config.load()
    config.ssl = tls  # uvicorn would make its own, of files that it reads once
    uvicorn_server = _Server(config)
    # What is being answered ends when headrace drains. Cancelled in the middle it would be told as an error of ours.
    serving = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError as cancelled:
        uvicorn_server.patience_s = _PATIENCE_S if FOLLOWED in cancelled.args else uvicorn_server.patience_s
        uvicorn_server.should_exit = True
        await serving
        raise
