"""A connection without sockets: what it is fed and what it writes are bytes in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.core.protocol import messages
from headrace.gateway.exchange import Exchange, Source
from headrace.gateway.http.connection import Connection
from headrace.gateway.http.targets import Target, Want
from headrace.gateway.http.writer import ResponseWriter
from headrace.gateway.server import Gateway
from headrace_worker.wire import Answer


class MemoryTransport(asyncio.Transport):
    """Collects what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed, "written after the close"
        self.written += data

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Tap:
    """A connection to a gateway that serves model 'm' and echoes bodies, in the order asked for by `release`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: messages.Limits | None = None, *, hold: bool = False
    ) -> None:
        self.gateway = _Echo(loop, limits or messages.Limits(), hold=hold)
        self.transport = MemoryTransport()
        self.connection = Connection(self.gateway.port("m"))
        self.connection.connection_made(self.transport)

    def feed(self, data: bytes) -> None:
        """Receive bytes, as far as the connection is still open."""
        if not self.transport.closed:
            self.connection.data_received(data)

    def close(self) -> None:
        """The client is gone."""
        self.connection.connection_lost(None)
        self.gateway.close()


class _Echo(Gateway):
    """Answers every prediction by itself with the request's body."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: messages.Limits, *, hold: bool) -> None:
        super().__init__(loop, limits, lambda _: None)
        self.state.writer = _Dateless()
        self.held: list[Exchange] = []
        self._hold = hold
        loop.run_until_complete(
            self.apply(
                messages.Table(
                    generation=1,
                    routes=(messages.Route(model="m", pool="p"),),
                    pools=(messages.Pool(key="p", model="m", label="m/1", mlflow_version="3"),),
                )
            )
        )

    def handle(self, exchange: Exchange, now_s: float) -> None:
        if exchange.request.target.want != Want.INVOKE or exchange.request.problem:
            super().handle(exchange, now_s)
        elif self._hold:
            self.held.append(exchange)
        else:
            self.echo(exchange)

    def takes_body(self, target: Target) -> bool:
        return target.want == Want.INVOKE

    def echo(self, exchange: Exchange) -> None:
        """Answer it."""
        exchange.answer(Answer(200, b"text/plain", exchange.body), Source(self._serving["m"].version), 0.0)


class _Dateless(ResponseWriter):
    """Writes the same for the same requests: no date, and ids that count from 1."""

    def __init__(self) -> None:
        super().__init__()
        self._ids_made = 0

    def set_date(self, moment: object) -> None:
        pass

    def new_request_id(self) -> bytes:
        self._ids_made += 1
        return b"%d" % self._ids_made
