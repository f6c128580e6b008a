"""Starts the recorder where anything is recorded, and another when it ends; requests do not notice either."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

import msgspec

from headrace.core import framing, inheriting
from headrace.core.messages import Recording
from headrace.core.records import AskSamples, Finish, FromRecorder, Open, Ping, Pong, Samples, ToRecorder
from headrace.core.restart import RestartPolicy, Restarts
from headrace.core.totals import Sample, Totals
from headrace.supervisor.children import Child, describe_exit, start_controlled
from headrace.supervisor.pulse import Pulse
from headrace.supervisor.wire_config import prediction_logs
from headrace.telemetry.logs import Log

if TYPE_CHECKING:
    from headrace.config.tree import Config

_FINISH_S = 8.0


class RecorderProcess:
    """Keeps one recorder process running. `stream` is where access lines go: the log's own."""

    def __init__(
        self, config: Config, told: Recording, environ: Mapping[str, str], log: Log, stream: TextIO | None = None
    ) -> None:
        self._fd = (stream or sys.stderr).fileno()
        form = config.log.format
        self._open = Open(
            socket=told.socket,
            log_fd=self._fd,
            text=form == "text" or (form == "auto" and os.isatty(self._fd)),
            predictions=prediction_logs(config),
            traces=told.trace_sample is not None,
            otlp_endpoint=config.telemetry.otlp.endpoint if config.telemetry.otlp is not None else None,
        )
        self._environ = inheriting.for_recorder(environ)
        self._log = log
        self._hung_after_s = config.health.hung_after_s
        self._pulse = Pulse()
        self._child: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._totals = Totals()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._token = 0
        self._finishing = False
        self._restarts = Restarts(RestartPolicy(first_s=0.2, most_s=10.0, healthy_s=10.0))

    @property
    def pid(self) -> int | None:
        """The process that records now."""
        return self._child.pid if self._child is not None and self._child.running else None

    async def run(self) -> None:
        """Keep it running until `finish`; cancelling kills it."""
        while True:
            how = await self._one_life()
            self._writer = None
            self._totals.forget(0)
            if self._finishing:
                return
            lived_s = time.monotonic() - self._child.started_s if self._child is not None else 0.0
            wait_s = self._restarts.died(lived_s, random.random()) or 0.0  # noqa: S311 - spreads restarts
            self._log.error("recorder ended", exit=how, restart_in_s=round(wait_s, 2), kept="all serving")
            await asyncio.sleep(wait_s)

    async def finish(self) -> None:
        """The gateways are gone: have everything written. Returns when the process has ended."""
        self._finishing = True
        self._pulse.stop()  # it answers no more while it writes what is left
        self._say(Finish())
        if self._child is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._child.wait(), _FINISH_S)

    async def samples(self, within_s: float = 1.0) -> list[Sample]:
        """What recorders have counted since headrace started."""
        if self._writer is not None:
            self._token += 1
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[self._token] = future
            self._say(AskSamples(self._token))
            await asyncio.wait([future], timeout=within_s)
            self._waiting.pop(self._token, None)
        return self._totals.samples()

    def _say(self, message: ToRecorder) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(framing.encode(message))

    async def _one_life(self) -> str:
        self._child = None
        try:
            self._child, reader, self._writer = await self._start()
        except OSError as error:
            return f"not started: {error}"
        decoder: framing.Decoder[FromRecorder] = framing.Decoder(FromRecorder)
        if not self._finishing:
            child = self._child
            self._pulse.start(self._hung_after_s, lambda: self._say(Ping()), lambda s: self._hung(child, s))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    for message in decoder.feed(data):
                        self._heard(message)
            self._writer.close()
            return describe_exit(await self._child.wait())
        except framing.FramingError as error:
            self._log.error("recorder broke the protocol", reason=str(error))
            self._child.signal(signal.SIGKILL)
            return describe_exit(await self._child.wait())
        except asyncio.CancelledError:
            self._child.signal(signal.SIGKILL)
            await self._child.wait()
            raise
        finally:
            self._pulse.stop()

    def _hung(self, child: Child, silent_s: float) -> None:
        self._log.error("recorder hung", pid=child.pid, silent_s=round(silent_s, 1), kept="all serving")
        child.signal(signal.SIGKILL)

    async def _start(self) -> tuple[Child, asyncio.StreamReader, asyncio.StreamWriter]:
        log_fd = os.dup(self._fd)  # 2 itself is the child's own standard error, which comes to us
        try:
            child, reader, writer = await start_controlled(
                "headrace.recorder", log=self._log, pass_fds=[log_fd], environ=self._environ
            )
        finally:
            os.close(log_fd)
        writer.write(framing.encode(msgspec.structs.replace(self._open, log_fd=log_fd)))
        return child, reader, writer

    def _heard(self, message: FromRecorder) -> None:
        self._pulse.heard()
        if isinstance(message, Pong):
            return
        if isinstance(message, Samples):
            self._totals.feed(0, message.values)
            future = self._waiting.pop(message.token, None)
            if future is not None and not future.done():
                future.set_result(None)
        else:
            getattr(self._log, message.level)(message.event, **message.fields)
