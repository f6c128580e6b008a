"""The life of a gateway process: configured, serving, draining, gone.

When the control channel ends it exits at once; with `Ties` it serves on, with the workers that it has, until another
has taken over. SIGINT is ignored, for a terminal sends it to everyone and the supervisor decides; SIGTERM drains.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic
from typing import Any

import uvloop

from headrace.core.protocol import messages
from headrace.core.protocol.liveness import Ping, Pong
from headrace.core.security.access import Access
from headrace.core.telemetry.totals import Labels, Sample
from headrace.gateway.control import Control
from headrace.gateway.http.connection import Connection
from headrace.gateway.http.port import Port
from headrace.gateway.quotas import Quotas
from headrace.gateway.security.guard import Guard
from headrace.gateway.security.pages import PageCheck
from headrace.gateway.server import Gateway
from headrace.security.contexts import GRPC, ServerContext
from headrace_worker import lifeline

_BACKLOG = 2048
_DRAIN_GRACE_S = 0.3
_KEYS_WANTED_EACH_S = 1.0


class GatewayProcess:
    """Holds the process's parts together; `run` returns its exit code."""

    def __init__(self) -> None:
        self._control = Control(self._hear, self._end)
        self._ended = asyncio.Event()
        self._inbox: asyncio.Queue[messages.Table] = asyncio.Queue()
        self._tls: dict[bool, ServerContext] = {}
        self._guard: Guard | None = None
        self._keys_wanted_s: dict[str, float] = {}
        self._ports: list[Port] = []
        self._configured: tuple[messages.Configure, Gateway] | None = None
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._draining: asyncio.Task[None] | None = None
        self._all_closed: asyncio.Future[Any] | None = None
        self._drained = False

    async def run(self, control_fd: int) -> int:
        """Serve until drained (0), or until the supervisor is gone or something is wrong with this process (1)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._hear, messages.Drain())
        control_socket = socket.socket(fileno=control_fd)
        control_socket.setblocking(False)
        await loop.create_unix_connection(lambda: self._control, sock=control_socket)
        self._start(self._apply_tables())
        await self._ended.wait()
        if self._configured is not None:
            gateway = self._configured[1]
            gateway.close()
            if gateway.recording is not None:
                await gateway.recording.finish()
        failed = False
        for task in self._tasks:
            failed |= task.done() and not task.cancelled() and task.exception() is not None
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return 0 if self._drained and not failed else 1

    def _hear(self, message: messages.ToGateway) -> None:
        if isinstance(message, messages.Certificate):
            self._tls = self._tls or {False: ServerContext(), True: ServerContext(GRPC)}
            for tls in self._tls.values():
                tls.show(message)
        elif isinstance(message, Access):
            self._judge_by(message)
        elif isinstance(message, messages.Configure):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            descriptors = most if most != resource.RLIM_INFINITY else sys.maxsize
            part = message.index if message.quota_part is None else message.quota_part
            quotas = Quotas(message.quota_fd, message.processes, part)
            gateway = Gateway(
                asyncio.get_running_loop(), message.limits, self._control.send, descriptors=descriptors, quotas=quotas
            )
            self._configured = message, gateway
            if message.ties is not None:
                self._tie(message.ties)
            if message.recording is not None:
                gateway.record(message.recording)
        elif isinstance(message, messages.Table):
            self._inbox.put_nowait(message)
        elif isinstance(message, messages.AskStats):
            if self._configured is not None:
                self._control.send(messages.Stats(message.token, self._stats(self._configured[1])))
        elif isinstance(message, Ping):
            self._control.send(Pong())
        elif isinstance(message, messages.Probe):
            if self._configured is not None:
                self._configured[1].probe(message)
        else:
            if self._draining is not None:
                self._draining.cancel()
            self._draining = self._start(self._drain(message))

    def _judge_by(self, access: Access) -> None:
        if self._guard is None:
            self._guard = Guard(access, self._forget_heads, self._want_keys)
        else:
            self._guard.change(access)

    def _forget_heads(self) -> None:
        for port in self._ports:
            port.heads.clear()  # what was decided of them may not hold any more

    def _want_keys(self, issuer: str) -> None:
        now_s = monotonic()  # anybody can make up tokens: the supervisor is not to hear of each
        if now_s - self._keys_wanted_s.get(issuer, -_KEYS_WANTED_EACH_S) >= _KEYS_WANTED_EACH_S:
            self._keys_wanted_s[issuer] = now_s
            self._control.send(messages.KeysWanted(issuer))

    def _stats(self, gateway: Gateway) -> list[Sample]:
        """What the gateway has counted, and those who look at who comes in."""
        refused = self._guard.failures if self._guard is not None else {}
        failures: list[Sample] = [
            ("headrace_access_refused_total", (("port", "data"), ("reason", w)), n) for w, n in refused.items()
        ]
        handshakes: dict[tuple[str, Labels], float] = {}
        for tls in self._tls.values():
            for name, labels, count in tls.samples():
                handshakes[name, labels] = handshakes.get((name, labels), 0) + count
        return [*gateway.stats(), *failures, *((*key, count) for key, count in handshakes.items())]

    def _tie(self, ties: messages.Ties) -> None:
        lifeline.arm(ties.lifeline_fd)
        loop = asyncio.get_running_loop()

        def let_go() -> None:
            loop.remove_reader(ties.leash_fd)
            self._hear(messages.Drain(within_s=ties.within_s, patient=True))

        loop.add_reader(ties.leash_fd, let_go)

    def _end(self) -> None:
        """The supervisor is gone: so is this process, but where another supervisor may come."""
        if self._configured is None or self._configured[0].ties is None:
            self._ended.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work`; what it raises ends the process, and its supervisor starts another."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "the gateway ends", "exception": error})
            self._ended.set()

    async def _apply_tables(self) -> None:
        while True:
            table = await self._inbox.get()
            if self._configured is None:
                raise RuntimeError("a Table came before Configure")
            config, gateway = self._configured
            await gateway.apply(table)
            if table.open and not self._servers and self._draining is None:
                # Only now: before the first table there is nothing true to answer; the kernel holds who comes early.
                await self._listen(config, gateway)
            self._control.send(messages.Applied(table.generation, listens=bool(self._servers)))

    async def _listen(self, config: messages.Configure, gateway: Gateway) -> None:
        loop = asyncio.get_running_loop()
        if not self._tls and any(listener.tls for listener in config.listeners):
            raise RuntimeError("a port with TLS has no certificate")
        if config.guarded and self._guard is None:
            raise RuntimeError("nobody has said who may ask what")
        for listener in config.listeners:
            pages = PageCheck(config.pages, loopback=listener.loopback)
            port = gateway.port(listener.model, tls=listener.tls, guard=self._guard, pages=pages)
            self._ports.append(port)
            inherited = socket.socket(fileno=listener.fd)
            inherited.setblocking(False)
            tls = self._tls[listener.grpc] if listener.tls else None
            server = await loop.create_server(
                partial(_kind(listener), port),
                sock=inherited,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=tls.handshake_timeout_s if tls is not None else None,
            )
            self._servers.append(server)
        # What was imported and set up lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    async def _drain(self, asked: messages.Drain) -> None:
        if self._configured is not None:
            config, gateway = self._configured
            within_s = config.drain_s if asked.within_s is None else asked.within_s
            until_s = monotonic() + within_s
            # A connection that has just been accepted is known to its server only. A server of uvloop tells of its end
            # those who have waited since before it was closed: a second order to drain waits for the same.
            if self._all_closed is None:
                self._all_closed = asyncio.gather(*(server.wait_closed() for server in self._servers))
            await asyncio.sleep(0)
            for server in self._servers:
                server.close()
            self._servers.clear()
            self._control.send(messages.ListensNoMore())
            # A client between two requests is given the time to send the next and be told that it is the last: a
            # connection that is closed under its hands would be an error to it.
            gateway.clients.begin_drain()
            if not asked.patient:
                await asyncio.wait([self._all_closed], timeout=min(_DRAIN_GRACE_S, within_s))
                gateway.clients.close_idle()
            await asyncio.wait([self._all_closed], timeout=max(0.0, until_s - monotonic()))
            # What was counted since it was last asked for would end with this process.
            self._control.send(messages.Stats(0, self._stats(gateway)))
        self._drained = True
        self._ended.set()


def _kind(listener: messages.Listener) -> Callable[[Port], asyncio.Protocol]:
    """What the connections of a listening socket are."""
    if not listener.grpc:
        return Connection
    from headrace.gateway.grpc.connection import GrpcConnection  # noqa: PLC0415 - needs the extra `grpc`

    return GrpcConnection


def serve(control_fd: int) -> int:
    """Run a gateway on an inherited control channel; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A connection is a file; the usual soft limit of 1,024 is there for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(control_fd))


async def _run(control_fd: int) -> int:
    return await GatewayProcess().run(control_fd)
