"""The gateway's own work for a request, without sockets, workers or an event loop: bytes in, frames out, bytes out.

    python benchmarks/gateway/alone.py [--rounds 30] [--beside OTHER_CHECKOUT] [--instructions]

Connections are fed with bytes, the frames that the gateway sends are answered at once, and timers never come. What is
printed is the least processor time of a request, in microseconds: of many short rounds one is hardly disturbed,
whatever else the machine does. `--beside` takes turns with another checkout, which must have this file, too.
`--instructions` counts instructions with valgrind instead: exact to half a percent, and slow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time_ns
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

CASES = ("1", "64", "256", "unlike", "cached", "stream")
"""So many connections whose requests meet in a frame; one whose heads are all new; one cache hit; one stream."""

_BODY = b'{"instances": ["Technology news about a new chip"]}'
_ANSWER = b'{"predictions": ["technology"]}'
_HEAD = (
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
)
_REQUEST = _HEAD % (b"", len(_BODY)) + _BODY
_CHUNKS = 16


class _Socket:
    def fileno(self) -> int:
        return 0


class _Transport(asyncio.Transport):
    """Keeps what is written until it is taken. It says that something is unwritten: so nobody writes beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []
        self.write = self.written.append  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Socket() if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 1

    def is_closing(self) -> bool:
        return False


class _Loop(asyncio.SelectorEventLoop):
    """An event loop until `stopped`; from then on what is to be called soon waits for `turn`, and timers never come."""

    stopped = False

    def __init__(self) -> None:
        super().__init__()
        self.soon: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.workers: list[tuple[_Transport, Any]] = []

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        if self.stopped:
            self.soon.append((callback, args))
            return None
        return super().call_soon(callback, *args, context=context)

    async def create_unix_connection(self, factory: Any, path: Any = None, **_: Any) -> Any:  # noqa: ARG002
        protocol, transport = factory(), _Transport()
        protocol.connection_made(transport)
        self.workers.append((transport, protocol))
        return transport, protocol

    def turn(self) -> None:
        """Call what was to be called soon, until nothing is."""
        soon = self.soon
        while soon:
            callback, args = soon.popleft()
            callback(*args)


class _Bench:
    def __init__(self, case: str) -> None:
        from headrace.core.protocol import messages  # noqa: PLC0415 - after the choice of a checkout
        from headrace.gateway.server import Gateway  # noqa: PLC0415 - as above
        from headrace_worker import wire  # noqa: PLC0415 - as above

        self._wire = wire
        self._case = case
        self._loop = _Loop()
        self._gateway = Gateway(self._loop, messages.Limits(), lambda _: None)
        pool = messages.Pool(
            key="p", model="m", label="m/1", mlflow_version="3", workers=(messages.WorkerRef("w", "/nowhere"),)
        )
        cache = messages.CacheOptions() if case == "cached" else None
        route = messages.Route(model="m", pool="p", cache=cache)
        self._loop.run_until_complete(self._gateway.apply(messages.Table(generation=1, routes=(route,), pools=(pool,))))
        self._worker_out, self._worker = self._loop.workers[0]
        count = int(case) if case.isdecimal() else 1
        self._clients = [self._connect() for _ in range(count)]
        self._loop.stopped = True
        self._heads = self._new_heads()

    def _connect(self) -> tuple[_Transport, Any]:
        transport = _Transport()
        connection = _connection(self._gateway)
        connection.connection_made(transport)
        return transport, connection

    def requests(self) -> int:
        """How many one call of `once` makes."""
        return len(self._clients)

    def once(self) -> None:
        """One request on each connection, and its answer."""
        request = _REQUEST
        if self._case == "unlike":
            request = next(self._heads)
        elif self._case == "stream":
            request = _HEAD % (b"Accept: text/event-stream\r\n", len(_BODY)) + _BODY
        for _, connection in self._clients:
            connection.data_received(request)
        self._loop.turn()
        for frame in self._worker_out.written:
            self._answer(frame)
        self._worker_out.written.clear()
        for transport, _ in self._clients:
            if not transport.written:
                raise RuntimeError("a request was not answered")
            transport.written.clear()

    def _answer(self, frame: Any) -> None:
        wire = self._wire
        frame = bytes(frame)
        number = int.from_bytes(frame[5:9], "little")
        if self._case == "stream":
            if frame[4] != wire.BATCH:
                return
            worker = self._worker
            worker.data_received(wire.encode_stream_head(number, 200, b"text/event-stream"))
            for _ in range(_CHUNKS):
                worker.data_received(wire.encode_stream_chunk(number, b"data: a word\n\n"))
            worker.data_received(wire.encode_stream_end(number))
            return
        answer = wire.Answer(200, b"application/json", _ANSWER, 1)
        works = int.from_bytes(frame[9:13], "little")
        self._worker.data_received(wire.encode_answers(number, [answer] * works, wire.Timing(10, 100, 10, 1)))

    def _new_heads(self) -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            yield _HEAD % (b"X-Request-Id: r%08d\r\n" % number, len(_BODY)) + _BODY


def _connection(gateway: Any) -> Any:
    from headrace.gateway.http.connection import Connection  # noqa: PLC0415 - as above

    return Connection(gateway.port("m"))


def measure(case: str, rounds: int) -> float:
    """The least processor time of a request, in microseconds."""
    bench = _Bench(case)
    calls = max(1, 100 // bench.requests())
    for _ in range(calls):
        bench.once()
    gc.collect()
    gc.freeze()
    gc.disable()
    best = float("inf")
    for _ in range(rounds):
        started = thread_time_ns()
        for _ in range(calls):
            bench.once()
        best = min(best, thread_time_ns() - started)
    return best / calls / bench.requests() / 1000


def instructions(tree: Path, case: str) -> float:
    """Instructions for a request, counted by valgrind: those of 3,000 requests less those of 1,000, a request each."""
    counted = []
    for requests in (1000, 3000):
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        run = subprocess.run(
            [*command, sys.executable, __file__, "--tree", str(tree), "--case", case, "--requests", str(requests)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            check=True,
            text=True,
        )
        counted.append(int(re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)[1].replace(",", "")))  # type: ignore[index]
    return (counted[1] - counted[0]) / 2000


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--beside", type=Path, help="another checkout, taken in turn with this one")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--turns", type=int, default=3, help="how often each checkout has its turn")
    parser.add_argument("--tree", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is not None:
        sys.path[:0] = [str(options.tree / "src")]
        if options.requests is None:
            print(measure(options.case, options.rounds))
        else:
            bench = _Bench(options.case)
            for _ in range(options.requests // bench.requests()):
                bench.once()
        return 0
    trees = [ROOT] if options.beside is None else [options.beside.resolve(), ROOT]
    unit = "instructions" if options.instructions else "us"
    print(f"{unit} a request: {', then '.join(map(str, trees))}")
    for case in options.cases.split(","):
        best = [float("inf")] * len(trees)
        for _ in range(1 if options.instructions else options.turns):
            for index, tree in enumerate(trees):
                found = instructions(tree, case) if options.instructions else _alone(tree, case, options.rounds)
                best[index] = min(best[index], found)
        shown = "  ".join(f"{value:10.2f}" for value in best)
        print(f"{case:>8}  {shown}" + (f"  {best[-1] / best[0] - 1:+.1%}" if len(best) > 1 else ""), flush=True)
    return 0


def _alone(tree: Path, case: str, rounds: int) -> float:
    """`measure` in a process of its own, whose modules are those of `tree`."""
    program = tree / "benchmarks" / "gateway" / "alone.py"
    command = [sys.executable, str(program), "--tree", str(tree), "--case", case, "--rounds", str(rounds)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
