"""A real gateway process with the supervisor's end of its control channel, and real stub workers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import msgspec
import psutil

from headrace.core.protocol import messages
from headrace.core.security.access import Access
from headrace.core.security.pages import Pages
from headrace.core.security.quotas import Quota
from tests.gateway_rig.client import RawClient

DEADLINE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
M = TypeVar("M", bound=msgspec.Struct)
Worker: TypeAlias = "StubWorker | StreamWorker"


def wait_until(condition: Callable[[], object], what: str, *, timeout_s: float = DEADLINE_S) -> None:
    """Return when `condition()` is true; AssertionError naming `what` when it does not become so in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"waited {timeout_s} s in vain until {what}"
        time.sleep(0.002)


class StubWorker:
    """A stub worker process; `ref` is what a table says of it."""

    def __init__(self, directory: Path, name: str, *arguments: str) -> None:
        self.ref = messages.WorkerRef(name, str(directory / f"{name}.sock"))
        self.log = directory / f"{name}.log"
        command = [sys.executable, "-m", "tests.gateway_rig.stub_worker", "--socket", self.ref.socket]
        self.process = subprocess.Popen(
            [*command, "--log", str(self.log), *arguments], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def frames(self) -> list[list[str]]:
        """The bodies of each frame that the worker was sent, in order."""
        if not self.log.exists():
            return []
        return [msgspec.json.decode(line, type=list[str]) for line in self.log.read_text().splitlines()]

    def bodies(self) -> list[str]:
        """All bodies that the worker was sent, in order."""
        return [body for frame in self.frames() for body in frame]

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """End it and collect it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
            self.process.stdout = None


class StreamWorker:
    """A worker with a model that streams; `ref` is what a table says of it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.ref = messages.WorkerRef(name, str(directory / f"{name}.sock"))
        self.log = directory / f"{name}.log"
        host = _stream_host()
        assert host.stdin is not None
        assert host.stdout is not None
        host.stdin.write(f"{self.ref.socket} {self.log}\n".encode())
        self.process = psutil.Process(int(host.stdout.readline()))

    def lines(self) -> list[str]:
        """What its model has told, in order."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def kill(self) -> None:
        """End it as a crash would."""
        self.close()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()
            self.process.wait(DEADLINE_S)


@functools.cache
def _stream_host() -> subprocess.Popen[bytes]:
    """What all stream workers are forks of: MLflow is imported once for them."""
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway_rig.stream_worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    atexit.register(host.communicate)  # closes its input, and waits
    return host


class GatewayRig:
    """One gateway process with a port for each of `models` (None: the shared port), and the supervisor's end.

    `descriptors`: how many files the gateway may have open. `certificate`: what its ports show; None: they have no TLS.
    `access`: who may ask what; None: everybody everything. `shared`: it is one of several, with memory that they share
    (its descriptor, how many they are, which one this is).
    """

    def __init__(
        self,
        models: tuple[str | None, ...] = ("topic",),
        *,
        limits: messages.Limits | None = None,
        drain_s: float = 10.0,
        recording: messages.Recording | None = None,
        descriptors: int | None = None,
        certificate: messages.Certificate | None = None,
        access: Access | None = None,
        pages: Pages | None = None,
        shared: tuple[int, int, int] | None = None,
    ) -> None:
        self.shared = shared
        self.pages = pages or Pages()
        self.access = access
        self.descriptors = descriptors
        self.certificate = certificate
        self._stack = contextlib.ExitStack()
        # Short: the path of a Unix socket has 107 bytes.
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hr")))
        self.limits = limits or messages.Limits()
        self.drain_s = drain_s
        self.recording = recording
        self.listeners: dict[str | None, socket.socket] = {}
        for model in models:
            self.listeners[model] = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
        self.received: list[msgspec.Struct] = []
        self.generation = 0
        self.quotas: tuple[Quota, ...] = ()
        self.tools: tuple[str, ...] | None = None
        self.workers: list[StubWorker] = []
        self._stream_workers: list[StreamWorker] = []
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the gateway, or another one on the same sockets after the first has ended."""
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno(), *(s.fileno() for s in self.listeners.values())]
        memory, processes, index = self.shared or (None, 1, 0)
        fds += [memory] if memory is not None else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headrace.gateway", "--control-fd", str(theirs.fileno()), "--index", "0"],
            pass_fds=fds,
            preexec_fn=self._limit_descriptors if self.descriptors is not None else None,  # noqa: PLW1509 - no lock taken
        )
        theirs.close()
        self.control = ours
        self.control.settimeout(DEADLINE_S)
        self._buffer = b""
        tls = self.certificate is not None
        listeners = tuple(messages.Listener(s.fileno(), model, tls) for model, s in self.listeners.items())
        if self.certificate is not None:
            self.send(self.certificate)
        if self.access is not None:
            self.send(self.access)
        self.send(
            messages.Configure(
                index=index,
                processes=processes,
                quota_fd=memory,
                listeners=listeners,
                limits=self.limits,
                drain_s=self.drain_s,
                recording=self.recording,
                pages=self.pages,
            )
        )

    def address(self, model: str | None = "topic") -> tuple[str, int]:
        """Where the port of `model` is."""
        host, port = self.listeners[model].getsockname()
        return host, port

    def client(self, model: str | None = "topic") -> RawClient:
        """A new connection to the port of `model`."""
        return RawClient(self.address(model))

    def worker(self, name: str, *arguments: str) -> StubWorker:
        """Start a stub worker."""
        self.workers.append(StubWorker(self.directory, name, *arguments))
        return self.workers[-1]

    def stream_worker(self, name: str) -> StreamWorker:
        """Start a worker with a model that streams."""
        self._stream_workers.append(StreamWorker(self.directory, name))
        return self._stream_workers[-1]

    def pool(self, key: str, *workers: Worker, model: str = "topic", mergeable: bool = True) -> messages.Pool:
        """A pool as a table has it."""
        return messages.Pool(
            key=key,
            model=model,
            label=f"{model}/{key}",
            mlflow_version="3.17.2",
            workers=tuple(worker.ref for worker in workers),
            mergeable=mergeable,
        )

    def table(self, routes: list[messages.Route], pools: list[messages.Pool]) -> None:
        """Send a table and wait until it is applied."""
        self.generation += 1
        self.send(
            messages.Table(
                generation=self.generation,
                routes=tuple(routes),
                pools=tuple(pools),
                quotas=tuple(self.quotas),
                tools=self.tools,
            )
        )
        generation = self.generation
        self.wait_for(messages.Applied, lambda applied: applied.generation == generation)

    def serve(self, *workers: Worker, **route: object) -> None:
        """Serve model 'topic' with these workers in pool '1'."""
        self.table([messages.Route(model="topic", pool="1", **route)], [self.pool("1", *workers)])  # type: ignore[arg-type]

    def send(self, message: msgspec.Struct) -> None:
        """Say something to the gateway."""
        payload = msgspec.msgpack.encode(message)
        self.control.sendall(struct.pack("<I", len(payload)) + payload)

    def wait_for(self, kind: type[M], condition: Callable[[M], bool] = lambda _: True) -> M:
        """Return the next message of that kind for which `condition` holds; it is taken out of `received`."""
        until = time.monotonic() + DEADLINE_S
        while True:
            for message in self.received:
                if isinstance(message, kind) and condition(message):
                    self.received.remove(message)
                    return message
            assert time.monotonic() < until, f"no {kind.__name__} came; received {self.received}"
            self._receive()

    def stats(self) -> defaultdict[str, float]:
        """Counters summed by name over all labels."""
        self.send(messages.AskStats(7))
        totals: defaultdict[str, float] = defaultdict(float)
        for name, _, value in self.wait_for(messages.Stats, lambda stats: stats.token == 7).values:
            totals[name] += value
        return totals

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the gateway."""
        os.kill(self.process.pid, number)

    def wait_exit(self) -> int:
        """Wait until the gateway has ended; its exit code."""
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """End everything."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        for stub in self.workers:
            stub.close()
        for worker in self._stream_workers:
            worker.close()
        self._stack.close()

    def _limit_descriptors(self) -> None:
        assert self.descriptors is not None
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def _receive(self) -> None:
        data = self.control.recv(1 << 16)
        assert data, "the gateway closed its control channel"
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from("<I", self._buffer)
            if len(self._buffer) < 4 + length:
                return
            payload, self._buffer = self._buffer[4 : 4 + length], self._buffer[4 + length :]
            self.received.append(msgspec.msgpack.decode(payload, type=messages.FromGateway))
