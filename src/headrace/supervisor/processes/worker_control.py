"""The Unix socket on which worker processes report to the supervisor, and the one pipe that keeps them alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from headrace.core.protocol.worker_events import Conversation, Event, Hello, ProtocolError, Role
from headrace.keeper.kept import Kept
from headrace.supervisor.processes.orphans import collect_orphans
from headrace.supervisor.processes.peers import Peer
from headrace.telemetry.logs import Log

Greet: TypeAlias = "Callable[[Reporter], Awaitable[None]]"

_BLOCK_BYTES = 64 * 1024
_BACKLOG = 16
_HELLO_S = 30.0
_MOST_STRANGERS = 64
_MOST_SOCKET_BYTES = 107  # sun_path of Linux, without the closing zero byte
_SOCKET_BYTES = len("/headrace-12345678/1234567890.12345.sock")
_TELL_S = 1.0


class Reporter:
    """One worker process's control connection, as the supervisor holds it. `pid` is what the kernel says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self.pid = peer.pid
        self._reader = reader
        self._writer = writer
        self._conversation = Conversation()
        self._first: list[Event] = []
        self._pidfd = peer.pidfd

    async def meet(self) -> Hello | None:
        """Wait for its hello; None where it leaves before. Raises ProtocolError for anything else."""
        while not self._first:
            data = await self._read()
            if not data:
                return None
            self._first = self._conversation.feed(data)
        hello = self._first.pop(0)
        if not isinstance(hello, Hello):
            raise ProtocolError("it did not say hello")
        return hello

    async def events(self) -> AsyncIterator[Event]:
        """What it says, until the connection ends; raises ProtocolError for what it must not say."""
        for event in self._first:
            yield event
        while data := await self._read():
            for event in self._conversation.feed(data):
                yield event

    def load(self, path: str, options: Mapping[str, Any]) -> None:
        """Have a host load the model. As all commands, lost without an error when the process is gone."""
        self._command("load", path=path, options=dict(options))

    def fork(self, replica: str, socket: str, token: str) -> None:
        """Have a host fork a replica, which connects by itself with this token."""
        self._conversation.forked(replica)
        self._command("fork", replica=replica, socket=socket, token=token)

    def serve(self, replica: str, socket: str) -> None:
        """Have a host become a replica itself."""
        self._conversation.serves()
        self._command("serve", replica=replica, socket=socket)

    def retire(self) -> None:
        """Have a replica end as soon as it has answered what it was given."""
        self._command("retire")

    def ping(self) -> None:
        """Ask the process to answer, to see whether it hangs."""
        self._conversation.pinged()
        self._command("ping")

    def kill(self) -> None:
        """Send SIGKILL to this process and no other, even if its id has been given to another one since."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    async def ended(self, within_s: float) -> bool:
        """Whether the process ends within so many seconds; True where the kernel cannot tell."""
        if self._pidfd is None:
            return True
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        loop.add_reader(self._pidfd, end.set)
        try:
            async with asyncio.timeout(within_s):
                await end.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._pidfd)
        return True

    def close(self) -> None:
        """Let go of the connection and of the process's handle."""
        self._writer.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _command(self, command: str, **arguments: Any) -> None:
        self._writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_BLOCK_BYTES)
        except OSError:
            return b""


class _Refused(Exception):
    """A process that connects was not invited; says why."""


def _run_directory() -> Path:
    """A directory of our own where the paths of sockets fit: below TMPDIR, or below /tmp where that is too deep."""
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > _MOST_SOCKET_BYTES - _SOCKET_BYTES:
        place = "/tmp"  # noqa: S108 - mkdtemp makes it safe
    return Path(tempfile.mkdtemp(prefix="headrace-", dir=place))


class ControlRoom:
    """The run directory (0700), its control socket, and the lifeline. One for each supervisor."""

    def __init__(self) -> None:
        self.directory = _run_directory()
        self.path = str(self.directory / "control.sock")
        # Where model code runs: what it writes where it stands (MLflow's traces, for one) goes away with us.
        self.workplace = self.directory / "work"
        self.workplace.mkdir()
        self.lifeline_fd, self._lifeline_held = os.pipe()
        # Where a keeper has the other end gateways outlive us, and finish when it lets go of that.
        self.leash: socket.socket | None = None
        self._kept: Kept | None = None
        self._invited: dict[str, tuple[Role, Greet]] = {}
        self._strangers = 0
        self._refused = 0
        self._refusal_told_s = -_TELL_S
        self._log: Log
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    async def open(self, log: Log) -> None:
        """Accept the processes that are invited."""
        self._log = log
        self._reaper = asyncio.create_task(collect_orphans())
        # A worker waits where many connect at once: in one turn of the loop only so many are taken.
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=_BLOCK_BYTES, backlog=_BACKLOG)

    def lend(self, kept: Kept) -> None:
        """Have a keeper see to it that what was started here outlives us until others have taken its place."""
        self._kept = kept
        theirs, self.leash = socket.socketpair()
        with theirs:
            kept.lend(self._lifeline_held, theirs, str(self.directory))

    def invite(self, role: Role, greet: Greet) -> str:
        """Expect one process: `greet` has it until its connection ends. Returns the token that it is to be given."""
        token = secrets.token_hex(16)
        self._invited[token] = role, greet
        return token

    def uninvite(self, token: str) -> None:
        """Expect that process no longer: its token is not accepted."""
        self._invited.pop(token, None)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._receive(reader, writer))
        self._guests.add(task)
        task.add_done_callback(self._guests.discard)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Follow one process, if it is who it should be: nothing is done to any other."""
        try:
            peer = Peer.of(writer)
        except OSError as error:
            self._refuse(0, f"the kernel does not say who it is: {error}")
            writer.close()
            return
        reporter = Reporter(reader, writer, peer)
        try:
            greet = await self._identify(reporter, peer)
            try:
                await greet(reporter)
            finally:
                reporter.kill()  # it is of no use without us
        except _Refused as error:
            self._refuse(peer.pid, str(error))
        except Exception as error:  # noqa: BLE001 - told: nobody waits for this task
            self._log.exception("a worker could not be followed", exc_info=error, pid=peer.pid)
        finally:
            reporter.close()

    async def _identify(self, reporter: Reporter, peer: Peer) -> Greet:
        """Who is to have it; raises _Refused where nobody has invited it."""
        if peer.uid != os.geteuid():
            raise _Refused(f"it belongs to user {peer.uid}")
        if self._strangers >= _MOST_STRANGERS:
            raise _Refused(f"{self._strangers} others have not said yet who they are")
        self._strangers += 1
        try:
            async with asyncio.timeout(_HELLO_S):
                hello = await reporter.meet()
        except TimeoutError:
            raise _Refused(f"it did not say within {_HELLO_S:g} s who it is") from None
        except ProtocolError as error:
            raise _Refused(str(error)) from None
        finally:
            self._strangers -= 1
        if hello is None:
            raise _Refused("it left before it had said who it is")
        invited = self._invited.get(hello.token)
        if invited is None or invited[0] != hello.role:
            raise _Refused("its token is none that was given out, or was used before")
        del self._invited[hello.token]
        return invited[1]

    def _refuse(self, pid: int, reason: str) -> None:
        """Say so, once a second at most; `refused` counts those that were not told."""
        self._refused += 1
        now_s = time.monotonic()
        if now_s - self._refusal_told_s >= _TELL_S:
            self._log.warning("control connection refused", pid=pid, reason=reason, refused=self._refused)
            self._refusal_told_s, self._refused = now_s, 0

    async def close(self) -> None:
        """Cut the lifeline (all that still runs ends now) and remove the directory."""
        if self._server:
            self._server.close()
        last = [*self._guests, *([self._reaper] if self._reaper else [])]
        for task in last:
            task.cancel()
        await asyncio.gather(*last, return_exceptions=True)
        os.close(self._lifeline_held)
        if self._kept is not None:
            self._kept.cut()
        if self.leash is not None:
            self.leash.close()
        os.close(self.lifeline_fd)
        shutil.rmtree(self.directory, ignore_errors=True)
