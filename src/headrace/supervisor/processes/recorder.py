"""Starts the recorder where anything is recorded, and another when it ends; requests do not notice either."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from headrace.core.processes import inheriting
from headrace.core.processes.restart import RestartPolicy
from headrace.core.protocol.messages import Recording
from headrace.core.protocol.records import AskSamples, Finish, FromRecorder, Open, Samples, Told
from headrace.core.telemetry.totals import Sample, Totals
from headrace.supervisor.processes.controlled import ControlledProcess
from headrace.supervisor.wire_config import mlflow_traces, prediction_logs
from headrace.telemetry.logs import Log

if TYPE_CHECKING:
    from headrace.config.tree import Config

_FINISH_S = 8.0
_OURS = {"event", "role", "level", "timestamp"}
"""Fields of a line that are not the recorder's to say."""


class RecorderProcess:
    """Keeps one recorder process running. `stream` is where access lines go: the log's own.

    With a lifeline it outlives us for as long as gateways do.
    """

    def __init__(
        self,
        config: Config,
        told: Recording,
        environ: Mapping[str, str],
        log: Log,
        stream: TextIO | None = None,
        lifeline_fd: int | None = None,
    ) -> None:
        self._fd = (stream or sys.stderr).fileno()
        form = config.log.format
        # A number of its own: 2 itself is the child's standard error, which comes to us.
        self._log_fd = os.dup(self._fd)
        self._open = Open(
            socket=told.socket,
            log_fd=self._log_fd,
            text=form == "text" or (form == "auto" and os.isatty(self._fd)),
            predictions=prediction_logs(config),
            traces=told.trace_sample is not None,
            otlp_endpoint=config.telemetry.otlp.endpoint if config.telemetry.otlp is not None else None,
            mlflow=mlflow_traces(config),
            lifeline_fd=lifeline_fd,
        )
        self._log = log
        self._totals = Totals()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._token = 0
        self._process: ControlledProcess[FromRecorder] = ControlledProcess(
            "recorder",
            "headrace.recorder",
            FromRecorder,
            pass_fds=[self._log_fd, *([lifeline_fd] if lifeline_fd is not None else [])],
            environ=inheriting.for_recorder(environ, mlflow=self._open.mlflow is not None),
            log=log,
            kept="all serving",
            policy=RestartPolicy(first_s=0.2, most_s=10.0, healthy_s=10.0),
            hung_after_s=config.health.hung_after_s,
            on_up=lambda: self._process.say(self._open),
            on_message=self._heard,
            on_down=lambda: self._totals.forget(0),
        )

    @property
    def pid(self) -> int | None:
        """The process that records now."""
        return self._process.pid

    async def run(self) -> None:
        """Keep it running until `finish`; cancelling kills it."""
        try:
            await self._process.run()
        finally:
            os.close(self._log_fd)

    async def finish(self) -> None:
        """The gateways are gone: have everything written. Returns when the process has ended."""
        self._process.end_after(Finish())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                await self._process.ended()

    async def samples(self, within_s: float = 1.0) -> list[Sample]:
        """What recorders have counted since headrace started."""
        if self._process.connected:
            self._token += 1
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[self._token] = future
            self._process.say(AskSamples(self._token))
            await asyncio.wait([future], timeout=within_s)
            self._waiting.pop(self._token, None)
        return self._totals.samples()

    def _heard(self, message: FromRecorder) -> None:
        if isinstance(message, Samples):
            self._totals.feed(0, message.values)
            future = self._waiting.pop(message.token, None)
            if future is not None and not future.done():
                future.set_result(None)
        elif isinstance(message, Told):
            fields = {name: value for name, value in message.fields.items() if name not in _OURS}
            getattr(self._log, message.level)(message.event, **fields)
