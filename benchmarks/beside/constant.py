"""The floor: headrace's own protocol class on a port, answering every request with the same bytes, without workers.

python constant.py PORT
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from time import monotonic

import uvloop

from headrace.core.protocol import messages
from headrace.gateway.connection import Connection
from headrace.gateway.exchange import Exchange
from headrace.gateway.pool import Pool
from headrace.gateway.port import Port
from headrace.gateway.server import Gateway
from headrace_worker.wire import Answer

_ANSWER = Answer(200, b"application/json", b'{"predictions": ["technology"]}', 1)


class Constant(Gateway):
    """Answers at once."""

    pool: Pool

    def handle(self, exchange: Exchange, now_s: float) -> None:
        """Answer."""
        exchange.answer(_ANSWER, self.pool, now_s)


async def _serve(number: int) -> None:
    loop = asyncio.get_running_loop()
    gateway = Constant(loop, messages.Limits(), lambda _: None)
    config = messages.Pool(key="floor", model="m", label="floor/1", mlflow_version="")
    gateway.pool = Pool(gateway, config, messages.Route(model="m"))
    server = await loop.create_server(partial(Connection, Port(gateway, None)), "127.0.0.1", number, backlog=2048)
    print(f"ready {monotonic():.3f}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
