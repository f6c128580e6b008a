"""Sends one request to a model as a client does, for the try box of the dashboard. Bounded in size, time and number."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import h11
from starlette.requests import Request
from starlette.responses import Response

from headrace.supervisor.admin.addresses import authority, reachable
from headrace.supervisor.admin.error_answers import Refused
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.served_model import ServedModel

MAX_REQUEST_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024
MOST_AT_ONCE = 4
_MOST_S = 30.0
_TYPES = frozenset({"application/json", "text/csv"})


@dataclass(frozen=True)
class Answer:
    """What the model's port answered; `whole` is False where the body was cut at MAX_ANSWER_BYTES."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    took_s: float


class Trying:
    """The try box's end in the supervisor."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._running = 0

    async def answer(self, request: Request, model: ServedModel) -> Response:
        """Send the body to the port of the model and return its answer. Raises Refused before it reads too much."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise Refused("UNSUPPORTED_MEDIA_TYPE", "send application/json or text/csv")
        if self._running >= MOST_AT_ONCE:
            raise Refused("REQUEST_LIMIT_EXCEEDED", f"{MOST_AT_ONCE} requests are being tried already")
        where = self._where(model)
        if where is None:
            raise Refused("CONFLICT", f"model {model.name!r} has no port")
        tls = self._server.config.tls
        if tls is not None and tls.client_ca is not None and tls.client_certificate == "required":
            raise Refused("CONFLICT", "clients of the model's port need a certificate: try it with headrace predict")
        within_s = min(model.config.timeout_s + 1.0, _MOST_S)
        self._running += 1
        try:
            body = b""
            async with asyncio.timeout(within_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_REQUEST_BYTES:
                        limit = f"the try box takes {MAX_REQUEST_BYTES // 1024} KiB; use the model's own port"
                        raise Refused("BODY_TOO_LARGE", limit)
                tried = await post(*where, body, kind, self._server.own_context(), self._token())
        except TimeoutError:
            raise Refused("DEADLINE_EXCEEDED", f"no answer within {within_s:g} s") from None
        except (OSError, h11.ProtocolError) as error:
            raise Refused("TEMPORARILY_UNAVAILABLE", f"the model's port did not answer: {error}") from None
        finally:
            self._running -= 1
        return PrintableJSON(_tell(tried))

    def _token(self) -> str | None:
        return self._server.access.own_token if self._server.access is not None else None

    def _where(self, model: ServedModel) -> tuple[tuple[str, int], str] | None:
        own, shared = self._server.address(model.name), self._server.address(None)
        if own is not None:
            return own, "/invocations"
        return (shared, f"/models/{model.name}/invocations") if shared is not None else None


async def post(
    address: tuple[str, int],
    path: str,
    body: bytes,
    kind: str,
    tls: ssl.SSLContext | None = None,
    token: str | None = None,
) -> Answer:
    """One POST on a connection of its own. Raises OSError and h11.ProtocolError; cancelling closes the connection."""
    address = reachable(address)
    started_s = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address, ssl=tls)
    try:
        http = h11.Connection(h11.CLIENT)
        headers = [("Host", authority(address)), ("Content-Type", kind), ("Content-Length", str(len(body)))]
        headers += [("User-Agent", "headrace-dashboard"), ("Connection", "close")]
        headers += [("Authorization", f"Bearer {token}")] if token is not None else []
        head = http.send(h11.Request(method="POST", target=path, headers=headers))
        writer.write((head or b"") + (http.send(h11.Data(data=body)) or b""))
        http.send(h11.EndOfMessage())
        await writer.drain()
        status, told, parts, size = 0, {}, [], 0
        async for event in _events(http, reader):
            if isinstance(event, h11.Response):
                status = event.status_code
                told = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > MAX_ANSWER_BYTES:
                    break
        took_s = time.perf_counter() - started_s
        return Answer(status, told, b"".join(parts)[:MAX_ANSWER_BYTES], size <= MAX_ANSWER_BYTES, took_s)
    finally:
        writer.close()


async def _events(http: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[Any]:
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return
        else:
            yield event


def _tell(tried: Answer) -> dict[str, Any]:
    kept = ("content-type", "headrace-model", "headrace-version", "x-request-id", "retry-after", "server-timing")
    return {
        "status": tried.status,
        "took_ms": round(tried.took_s * 1000, 2),
        "headers": {name: tried.headers[name] for name in kept if name in tried.headers},
        "body": tried.body.decode("utf-8", "replace"),
        "whole": tried.whole,
    }
