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
from headrace.gateway.counters import PoolCounters
from headrace.gateway.exchange import Exchange, Source
from headrace.gateway.http.connection import Connection
from headrace.gateway.server import Gateway
from headrace.gateway.version import ServedVersion
from headrace_worker.wire import Answer

_ANSWER = Answer(200, b"application/json", b'{"predictions": ["technology"]}', 1)


class Constant(Gateway):
    """Answers at once."""

    source: Source

    def handle(self, exchange: Exchange, now_s: float) -> None:
        """Answer."""
        exchange.answer(_ANSWER, self.source, now_s)


async def _serve(number: int) -> None:
    loop = asyncio.get_running_loop()
    gateway = Constant(loop, messages.Limits(), lambda _: None)
    config = messages.Pool(key="floor", model="m", label="floor/1", mlflow_version="")
    version = ServedVersion(config, messages.Route(model="m"), PoolCounters(), lambda _: None)
    gateway.source = Source(version)
    server = await loop.create_server(partial(Connection, gateway.port(None)), "127.0.0.1", number, backlog=2048)
    print(f"ready {monotonic():.3f}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))
