"""Goodput under overload: requests arrive at a rate of their own, whatever becomes of the earlier ones.

    python benchmarks/gateway/overload.py [--times 1,2,3,10] [--max-rows 64,256] [--seconds 5] [--rounds 3]

One stub worker that sleeps 1 ms and 0.5 ms a row. Its peak is measured first, with as many clients as fill two frames,
each waiting for its answer; then requests arrive at random (Poisson) at so many times that rate. A client that is
refused does not ask again. Prints good answers a second as a share of the peak (the median of the rounds, and the
lowest), how many were refused, and the latency of the good ones.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from headrace.core.protocol import messages  # noqa: E402 - the tests are no installed package
from tests.gateway_rig.rig import GatewayRig  # noqa: E402 - run as a script

BODY = b'{"instances": ["Technology news about a new chip"]}'
REQUEST = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
MOST_CONNECTIONS = 4000


@dataclass
class Tally:
    """What came of the requests: latencies of the good ones in seconds, and how many were refused or could not go."""

    good_s: list[float] = field(default_factory=list)
    refused: int = 0
    unsent: int = 0


class Client(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, tally: Tally, idle: list[Client], *, again: bool) -> None:
        self._tally = tally
        self._idle = idle
        self._again = again
        self._sent_s = 0.0
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment] # as TCP has it

    def send(self) -> None:
        """Ask."""
        self._sent_s = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._data = b""
        if head.startswith(b"HTTP/1.1 200"):
            self._tally.good_s.append(time.perf_counter() - self._sent_s)
        else:
            self._tally.refused += 1
        if self._again:
            self.send()
        else:
            self._idle.append(self)


async def closed(address: tuple[str, int], clients: int, seconds: float) -> float:
    """Good answers a second while so many clients ask again as soon as they are answered."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(tally, [], again=True), *address) for _ in range(clients)]
    for _, client in made:
        client.send()
    await asyncio.sleep(0.5)
    before, begun_s = len(tally.good_s), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (len(tally.good_s) - before) / (time.perf_counter() - begun_s)
    for transport, _ in made:
        transport.abort()
    return rate


async def opened(address: tuple[str, int], per_s: float, seconds: float) -> tuple[float, Tally]:
    """Send `per_s` requests a second for so long; returns the good answers a second, and what came of all."""
    tally = Tally()
    idle: list[Client] = []
    made: list[asyncio.Transport] = []
    opening: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()

    async def send_by_another() -> None:
        transport, client = await loop.create_connection(lambda: Client(tally, idle, again=False), *address)
        made.append(transport)
        client.send()

    chance = random.Random(1)  # noqa: S311 - made-up load is no secret
    next_s = begun_s = loop.time()
    counted_s, before = begun_s + 1.0, 0
    while (now_s := loop.time()) < begun_s + 1.0 + seconds:
        if not before and now_s >= counted_s:  # the first second fills the queue
            counted_s, before = now_s, len(tally.good_s)
        while next_s <= now_s:
            next_s += chance.expovariate(per_s)
            if idle:
                idle.pop().send()
            elif len(made) + len(opening) < MOST_CONNECTIONS:
                task = loop.create_task(send_by_another())
                opening.add(task)
                task.add_done_callback(opening.discard)
            else:
                tally.unsent += 1
        await asyncio.sleep(0.001)
    rate = (len(tally.good_s) - before) / (loop.time() - counted_s)
    await asyncio.gather(*opening, return_exceptions=True)
    for transport in made:
        transport.abort()
    return rate, tally


def main() -> int:
    """Start, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", default="1,2,3,10")
    parser.add_argument("--max-rows", default="64,256")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for max_rows in map(int, options.max_rows.split(",")):
        with GatewayRig() as rig:
            queue = messages.QueueOptions(max_rows=3 * max_rows)
            worker = rig.worker("w0", "--fixed-ms", "1", "--row-us", "500")
            worker.log.unlink(missing_ok=True)
            rig.serve(worker, batch=messages.BatchOptions(max_rows=max_rows), queue=queue)
            address = rig.address()
            shares: dict[float, list[float]] = {}
            told: dict[float, Tally] = {}
            for _ in range(options.rounds):
                peak = uvloop.run(closed(address, 2 * max_rows, options.seconds))
                for times in map(float, options.times.split(",")):
                    rate, told[times] = uvloop.run(opened(address, times * peak, options.seconds))
                    shares.setdefault(times, []).append(rate / peak)
            for times, found in shares.items():
                tally = told[times]
                cuts = statistics.quantiles(tally.good_s, n=100)
                print(
                    f"max_rows {max_rows:<4} {times:>4g} x the peak: goodput {statistics.median(found):4.0%} "
                    f"(lowest {min(found):4.0%}), refused {tally.refused}, unsent {tally.unsent}, "
                    f"good p50 {cuts[49] * 1e3:.0f} ms p99 {cuts[98] * 1e3:.0f} ms",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
