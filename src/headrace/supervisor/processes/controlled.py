"""Keeps one of headrace's own processes running, and speaks with it: a gateway, the registry agent, the recorder.

Any error on the channel ends that process, and nothing else: it is killed, counted, and replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from headrace.core.processes.restart import RestartPolicy, Restarts
from headrace.core.protocol import framing
from headrace.core.protocol.liveness import Ping, Pong
from headrace.supervisor.processes.children import Child, start_controlled
from headrace.supervisor.processes.liveness import Pulse
from headrace.telemetry.logs import Log

_END_S = 5.0
"""How long a process may take to end once it has closed the channel."""

M = TypeVar("M")


class ControlledProcess(Generic[M]):
    """One place in which a process runs, and after it the next. `pid` is None while there is none.

    `name` is how the log calls it, `kept` what goes on without it. `kind` is the union of what it says. `on_up` is
    called when a process has been started, to say the first messages; `on_message` for each that comes but pongs;
    `on_down` when it has ended. A process that is silent for `hung_after_s` (None: for ever) is replaced.
    """

    def __init__(
        self,
        name: str,
        module: str,
        kind: Any,
        *,
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        environ: Mapping[str, str],
        log: Log,
        kept: str,
        policy: RestartPolicy,
        hung_after_s: float | None,
        on_up: Callable[[], None] = lambda: None,
        on_message: Callable[[M], None],
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.restarts = Restarts(policy)
        self._command = module, tuple(arguments), tuple(pass_fds)
        self._kind = kind
        self._environ = environ
        self._log = log
        self._kept = kept
        self._hung_after_s = hung_after_s
        self._on_up = on_up
        self._on_message = on_message
        self._on_down = on_down
        self._ends = asyncio.Event()
        self._child: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._pulse = Pulse()

    def __repr__(self) -> str:
        return f"<ControlledProcess {self.name} pid={self.pid}>"

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._child.pid if self._child is not None and self._child.running else None

    @property
    def connected(self) -> bool:
        """Whether a process is connected that `say` can send to."""
        return self._writer is not None and not self._writer.is_closing()

    def say(self, message: Any) -> None:
        """Send a message; it is dropped without an error where no process is connected."""
        if self._writer is not None and self.connected:
            self._writer.write(framing.encode(message))

    def end_after(self, message: Any) -> None:
        """Say the last message: the process ends by itself, may be silent until then, and none follows it."""
        self._ends.set()
        self._pulse.stop()
        self.say(message)

    def kill(self, why: str) -> None:
        """End the process that runs now at once."""
        if self._child is not None:
            self._child.kill(why)

    async def ended(self) -> None:
        """Wait for the end of the process that runs now."""
        if self._child is not None:
            await self._child.wait()

    async def run(self) -> None:
        """Keep a process running until the last message was said and it has ended; cancelling kills it."""
        while not self._ends.is_set():
            started_s = time.monotonic()
            how = await self._one_life()
            self._on_down()
            if self._ends.is_set():
                return
            wait_s = self.restarts.died(time.monotonic() - started_s, random.random()) or 0.0  # noqa: S311 - spread
            wait_s = (
                wait_s if self.restarts.deaths > 1 else 0.0
            )  # only the second in a row says that something is wrong
            self._log.error(f"{self.name} ended", exit=how, restart_in_s=round(wait_s, 2), kept=self._kept)
            await asyncio.sleep(wait_s)

    async def _one_life(self) -> str:
        module, arguments, pass_fds = self._command
        try:
            child, reader, self._writer = await start_controlled(
                module, arguments, log=self._log, pass_fds=pass_fds, environ=self._environ
            )
        except OSError as error:
            return f"not started: {error}"
        self._child = child
        try:
            self._on_up()
            if not self._ends.is_set():
                self._pulse.start(self._hung_after_s, lambda: self.say(Ping()), lambda s: self._hung(child, s))
            await self._listen(child, reader)
        finally:
            self._pulse.stop()
            self._writer.close()
            self._writer = None
            child.kill("headrace stops")
            await child.wait()
        return child.describe()

    async def _listen(self, child: Child, reader: asyncio.StreamReader) -> None:
        """Hear a process out. Returns when it has ended, or has lost the right to live."""
        decoder: framing.Decoder[M] = framing.Decoder(self._kind)
        try:
            while data := await _read(reader):
                for message in decoder.feed(data):
                    self._pulse.heard()
                    if not isinstance(message, Pong):
                        self._on_message(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await child.wait()
            child.kill("it had closed its channel, and went on")
        except framing.FramingError as error:
            child.kill("it broke the protocol")
            self._log.error(f"{self.name} broke the protocol", pid=child.pid, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours, told with its traceback: it costs this process only
            child.kill(f"{type(error).__name__} in headrace")
            self._log.exception(f"{self.name} could not be followed", exc_info=error, pid=child.pid)

    def _hung(self, child: Child, silent_s: float) -> None:
        """Its event loop stands still: what it was doing is lost."""
        self._log.error(f"{self.name} hung", pid=child.pid, silent_s=round(silent_s, 1), kept=self._kept)
        child.kill(f"silent for {silent_s:.1f} s")


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except OSError:
        return b""
