"""The life of the recorder's process: opened, recording, finished.

When the control channel ends without `Finish`, it writes what it has and ends; where gateways outlive the supervisor,
it does so when the last one has ended. SIGINT is ignored, for a terminal sends it to everyone, and so is SIGTERM: the
last requests are still to be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import uvloop

from headrace.core.protocol import framing
from headrace.core.protocol.liveness import Ping, Pong
from headrace.core.protocol.records import (
    ACCESS,
    LOGS,
    MLFLOW,
    PREDICTION,
    SLOW,
    TRACE,
    AskSamples,
    Batch,
    Finish,
    MlflowTraces,
    Open,
    Record,
    Samples,
    Told,
    ToRecorder,
    feedback_socket,
)
from headrace.recorder.lines import LineWriter
from headrace.recorder.predictions import PredictionWriter
from headrace.recorder.sink import Sink, Writer
from headrace_worker import lifeline

if TYPE_CHECKING:
    from headrace.recorder.mlflow_writer import MlflowWriter

_MAX_WAITING_BYTES = 64 * 1024 * 1024
_LAST_WORDS_S = 1.0
_FINISH_S = 5.0
_TELL_LOST_S = 10.0


class Recorder:
    """Reads what gateways send and gives each sink its part. `run` returns the exit code."""

    def __init__(self) -> None:
        self._sinks: list[tuple[int, Sink]] = []
        self._lost: dict[str, int] = dict.fromkeys(LOGS.values(), 0)
        self._mlflow: MlflowWriter | None = None
        self._feedback: asyncio.Server | None = None
        self._told_lost = 0
        self._tell_lost_at_s = 0.0
        self._gateways: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._outlives = False
        self._control: asyncio.StreamWriter | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self, control_fd: int) -> int:
        """Record until the supervisor says `Finish` (0) or is gone (1)."""
        control = socket.socket(fileno=control_fd)
        control.setblocking(False)
        reader, self._control = await asyncio.open_unix_connection(sock=control)
        decoder: framing.Decoder[ToRecorder] = framing.Decoder(ToRecorder)
        finished = False
        with contextlib.suppress(OSError, framing.FramingError):
            while not finished and (data := await reader.read(65536)):
                for message in decoder.feed(data):
                    if isinstance(message, Open):
                        await self._open(message)
                    elif isinstance(message, AskSamples):
                        self._control.write(framing.encode(Samples(message.token, self._samples())))
                    elif isinstance(message, Ping):
                        self._control.write(framing.encode(Pong()))
                    else:
                        finished = isinstance(message, Finish)
                        self._outlives = False
        while self._outlives and self._gateways:
            await asyncio.wait(self._gateways, return_when=asyncio.FIRST_COMPLETED)
        await self._finish()
        return 0 if finished else 1

    def tell(self, level: str, event: str, **fields: Any) -> None:
        """Have the supervisor log something; may be called from any thread."""
        message = framing.encode(Told(level, event, fields))  # type: ignore[arg-type]
        self._loop.call_soon_threadsafe(self._say, message)

    def _say(self, message: bytes) -> None:
        if self._control is not None and not self._control.is_closing():
            self._control.write(message)

    async def _open(self, opened: Open) -> None:
        if opened.lifeline_fd is not None:
            lifeline.arm(opened.lifeline_fd)
            self._outlives = True
        self._add(ACCESS | SLOW, "access", LineWriter(opened.log_fd, text=opened.text, tell=self.tell))
        if opened.predictions:
            self._add(PREDICTION, "prediction", PredictionWriter(opened.predictions, self.tell))
        if opened.traces:
            self._open_traces(opened.otlp_endpoint)
        if opened.mlflow is not None:
            await self._open_mlflow(opened.mlflow, feedback_socket(opened.socket))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(opened.socket)  # noqa: PTH108 - of a recorder that was killed
        self._server = await asyncio.start_unix_server(self._accept, opened.socket)

    def _open_traces(self, endpoint: str | None) -> None:
        try:
            from headrace.recorder.otlp import SpanWriter  # noqa: PLC0415 - an optional package, and a slow import

            writer = SpanWriter(endpoint, self.tell)
        except Exception as error:  # noqa: BLE001 - what OTEL_* may say is OpenTelemetry's to know; logs go on without it
            reason = f"{type(error).__name__}: {error}"
            self.tell("error", "traces cannot be exported", reason=reason, kept="all serving, the other logs")
        else:
            self._add(TRACE, "trace", writer)

    async def _open_mlflow(self, options: MlflowTraces, socket: str) -> None:
        from headrace.recorder.feedback import FeedbackServer  # noqa: PLC0415 - only where it is wanted
        from headrace.recorder.mlflow_store import TraceStore  # noqa: PLC0415 - only where it is wanted
        from headrace.recorder.mlflow_writer import MlflowWriter  # noqa: PLC0415

        store = TraceStore(options)
        self._mlflow = MlflowWriter(store, self.tell)
        self._add(MLFLOW, "mlflow_trace", self._mlflow)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket)  # noqa: PTH108 - of a recorder that was killed
        self._feedback = await asyncio.start_unix_server(FeedbackServer(store).listen, socket)

    def _add(self, wanted_by: int, log: str, writer: Writer) -> None:
        self._sinks.append((wanted_by, Sink(log, writer, _MAX_WAITING_BYTES, self.tell)))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._listen(reader, writer))
        self._gateways.add(task)
        task.add_done_callback(self._gateways.discard)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder: framing.Decoder[Batch] = framing.Decoder(Batch)
        with contextlib.suppress(OSError, framing.FramingError):
            while data := await reader.read(1 << 20):
                for batch in decoder.feed(data):
                    self._take(batch)
        writer.close()

    def _take(self, batch: Batch) -> None:
        for bits, sink in self._sinks:
            wanted: list[Record] = [record for record in batch.records if record.wanted_by & bits]
            if wanted:
                sink.offer(wanted)
        if batch.spans and self._mlflow is not None:
            self._mlflow.take_spans(batch.spans)
        for log, count in batch.lost.items():
            self._lost[log] = self._lost.get(log, 0) + count
        self._tell_lost()

    def _tell_lost(self) -> None:
        """Say what was dropped, here and in gateways, now and then."""
        lost = {log: count + self._dropped(log) for log, count in self._lost.items()}
        total = sum(lost.values())
        now_s = time.monotonic()
        if total > self._told_lost and now_s >= self._tell_lost_at_s:
            self._tell_lost_at_s = now_s + _TELL_LOST_S
            self._told_lost = total
            self.tell("warning", "records dropped", **{log: n for log, n in lost.items() if n}, kept="all serving")

    def _dropped(self, log: str) -> int:
        return sum(sink.dropped for _, sink in self._sinks if sink.log == log)

    def _samples(self) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
        values: list[tuple[str, tuple[tuple[str, str], ...], float]] = []
        for _, sink in self._sinks:
            for result, count in (("written", sink.written), ("failed", sink.failed), ("dropped", sink.dropped)):
                values.append(("headrace_records_total", (("log", sink.log), ("result", result)), count))
        if self._mlflow is not None:
            counts = {**self._mlflow.spans, "unsent": self._lost.get("model_spans", 0)}
            values += [("headrace_model_spans_total", (("result", result),), n) for result, n in counts.items()]
            values.append(("headrace_mlflow_traces_up", (), float(not self._mlflow.is_away)))
        return values

    async def _finish(self) -> None:
        for server in (self._server, self._feedback):
            if server is not None:
                server.close()
        if self._gateways:  # what their sockets still hold
            await asyncio.wait(self._gateways, timeout=_LAST_WORDS_S)
        await asyncio.gather(*(asyncio.to_thread(sink.finish, _FINISH_S) for _, sink in self._sinks))
        if self._control is not None:
            self._control.close()


def serve(control_fd: int) -> int:
    """Run a recorder on an inherited control channel; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(control_fd))


async def _run(control_fd: int) -> int:
    return await Recorder().run(control_fd)
