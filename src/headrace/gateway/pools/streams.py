"""Answers that come in pieces: from a worker's stream frames to chunked HTTP answers.

What is kept of a stream is bounded (see `headrace_worker.wire`): its worker is told that more may be sent only once the
client's connection has taken what came. A stream whose worker has used up what it was allowed is parked: the worker
does other things until the client has caught up. While requests wait for a worker, a stream whose client keeps up is
parked as well after each window, so that it takes turns with them.
"""

from __future__ import annotations

from itertools import takewhile
from time import monotonic
from typing import TYPE_CHECKING

from headrace.core.serving.batching import DONE, NEVER_S, SENT
from headrace.gateway.http import answers
from headrace_worker import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.core.serving.assignments import Frame
    from headrace.gateway.exchange import Client, Exchange, Job
    from headrace.gateway.pools.channel import Channel
    from headrace.gateway.pools.feeder import Feeder
    from headrace.gateway.state import GatewayState
    from headrace.gateway.version import ServedVersion

_LAST_CHUNK = b"0\r\n\r\n"
_EVENT_END = b"\n\n"
_GRANT_BYTES = wire.STREAM_WINDOW_BYTES // 2
"""Credit is given back in portions of at least this: not a frame for every word of a model that writes."""

_TOO_MUCH = "it sent more of a stream than it may"


class StreamReply:
    """The answer of one exchange while it streams from one worker.

    `held` is what waits for the answer's turn on the connection. `flowing`: the connection takes more. `ended`: all of
    it has come; `broken`: no more of it will. `credit_bytes` is what the worker may still send, `owed_bytes` what was
    sent and is allowed again once the client has caught up.
    """

    __slots__ = (
        "_chunked",
        "_request_id",
        "_status",
        "_streams",
        "_whole",
        "broken",
        "credit_bytes",
        "ended",
        "exchange",
        "flowing",
        "frame",
        "held",
        "owed_bytes",
        "size_bytes",
        "until_s",
    )

    def __init__(self, streams: Streams, frame: Frame[Job], exchange: Exchange, status: int, until_s: float) -> None:
        self._streams = streams
        self.frame = frame
        self.exchange = exchange
        self.until_s = until_s
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer. gRPC has its own.
        self._chunked = not (exchange.request.http10 or exchange.request.grpc)
        self._request_id = b""
        self._status = status
        self._whole = True
        self.held: list[bytes] = []
        self.ended = self.broken = False
        self.flowing = True
        self.credit_bytes = wire.STREAM_WINDOW_BYTES
        self.owed_bytes = self.size_bytes = 0
        exchange.reply = self

    def begin(self, label: bytes, content_type: bytes) -> None:
        """Send the head: it is the answer of the version that `label` names."""
        exchange = self.exchange
        connection = exchange.connection
        if connection is None:
            return
        request_id = self._request_id = exchange.request_id(connection)
        self._write(connection.writer.stream_head(exchange.request, request_id, label, self._status, content_type))

    def chunk(self, data: bytes) -> None:
        """Send a piece."""
        if data:
            self.size_bytes += len(data)
            self._whole = data.endswith(_EVENT_END)
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, now_s: float, code: str = "") -> None:
        """The stream ended: well, or with an error event that has this code."""
        self.ended = True
        if self.exchange.charge is not None:
            self.exchange.charge.release()
        connection = self.exchange.connection
        if connection is not None:
            self._record(connection, now_s, code)
            connection.end_stream(self.exchange, _LAST_CHUNK if self._chunked else b"", now_s, last=not self._chunked)

    def refuse(self, code: str, message: str, now_s: float) -> None:
        """End the stream with an error event; one that stopped in the middle of an event breaks off instead."""
        if not self._whole:
            self.break_off()
            return
        self.chunk(answers.error_event(self.exchange.request.target, code, message))
        self.end(now_s, code)

    def break_off(self) -> None:
        """The stream cannot be finished: the client must see that it is not whole."""
        self.broken = True
        if self.exchange.charge is not None:
            self.exchange.charge.release()
        connection = self.exchange.connection
        if connection is not None:
            connection.transport.abort()  # which is recorded as a client's leaving: neither got what it wanted

    def end_failed(self, now_s: float) -> None:
        """The stream ended well, and its last event tells that the model has failed."""
        self._streams.counters.model_failed(self._status)
        self.end(now_s, "MODEL_ERROR")

    def fail(self) -> None:
        """It is the model or its worker that has failed."""
        self._streams.counters.model_failed(self._status)
        self.break_off()

    def go_on(self) -> None:
        """The client's connection takes more."""
        self.flowing = True
        self._streams.go_on(self)

    def starved(self) -> None:
        """The client has taken nothing for too long; the caller ends its connection."""
        self._streams.counters.limited("stream_idle_s")

    def _record(self, connection: Client, now_s: float, code: str) -> None:
        recording = connection.recording
        if recording is not None:
            recording.streamed(self.exchange, self._status, self.size_bytes, code, self._request_id, now_s)

    def _write(self, data: bytes) -> None:
        connection = self.exchange.connection
        if connection is not None:
            self.flowing = connection.write_part(self.exchange, data)


class Streams:
    """The streams of one pool that have begun and have not ended, in the order of their beginning.

    `settle` is called when one has ended.
    """

    __slots__ = ("_feeder", "_open", "_settle", "_state", "_version", "counters")

    def __init__(self, state: GatewayState, version: ServedVersion, feeder: Feeder, settle: Callable[[], None]) -> None:
        self._state = state
        self._version = version
        self._feeder = feeder
        self._settle = settle
        self._open: dict[Exchange, StreamReply] = {}
        self.counters = version.counters

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, exchange: Exchange, now_s: float) -> bool:
        """Count a request that asks for a stream against its client's share; False: it was refused."""
        connection, most = exchange.connection, self._state.limits.max_streams_per_client
        if connection is None or most is None:
            return True
        charge = self._state.stream_shares.take(connection.peer(), 1, most, also=exchange.charge)
        if charge is not None:
            exchange.charge = charge
            return True
        self.counters.limited("max_streams_per_client")
        message = (
            f"This address has {most} streams open or waiting, as many as one may (max_streams_per_client); "
            "end one of them, or try again later."
        )
        exchange.fail_for(self._version, "REQUEST_LIMIT_EXCEEDED", message, now_s, retry_after_s=1)
        return False

    # What a channel reports.

    def head(self, channel: Channel, number: int, status: int, content_type: bytes) -> None:
        """A worker begins to stream the answer of its frame's only request."""
        frame = self._frame(channel, number)
        if frame is None:
            return
        job = frame.works[0]
        now_s = monotonic()
        frame.progress_s = now_s
        if job.state != SENT:
            self._finish(frame, now_s, cancel=True)
            return
        exchange: Exchange = job  # type: ignore[assignment] # only exchanges ask for streams
        if not job.stream or exchange.reply is not None:
            self._feeder.crew.distrust(channel, "it streams an answer to a request that asked for none")
            return
        # From here on the time between two chunks counts, and the request can go to no other worker.
        exchange.deadline_s = NEVER_S
        frame.act_s = now_s + self._feeder.core.timeout_s
        self._version.count_answer(status, now_s - exchange.arrived_s)
        self.counters.wait.observe(frame.sent_s - exchange.arrived_s)
        longest_s = self._state.limits.max_stream_s
        reply = StreamReply(self, frame, exchange, status, NEVER_S if longest_s is None else now_s + longest_s)
        self._open[exchange] = reply
        reply.begin(self._version.label, content_type)

    def chunk(self, channel: Channel, number: int, data: bytes) -> None:
        """The next piece of a stream."""
        frame = self._frame(channel, number)
        if frame is None:
            return
        reply = self._open.get(frame.works[0])  # type: ignore[call-overload] # a job that is no exchange is not there
        if reply is None:
            self._feeder.crew.distrust(channel, "it goes on with a stream that it had not begun")
            return
        if reply.credit_bytes <= 0 or len(data) > wire.STREAM_CHUNK_BYTES:
            self._feeder.crew.distrust(channel, _TOO_MUCH)
            return
        now_s = frame.progress_s = monotonic()
        most_bytes = self._state.limits.max_stream_bytes
        if most_bytes is not None and reply.size_bytes + len(data) > most_bytes:
            message = f"This stream holds more than {most_bytes} bytes, the most that one may (max_stream_bytes)."
            self._cut(reply, "max_stream_bytes", "STREAM_TOO_LONG", message, now_s)
            return
        self.counters.chunk(data, None if reply.size_bytes else now_s - reply.exchange.arrived_s)
        reply.credit_bytes -= len(data)
        reply.owed_bytes += len(data)
        reply.chunk(data)
        core = self._feeder.core
        if reply.flowing and reply.owed_bytes >= _GRANT_BYTES and not core.lanes.count:
            self._grant(reply)
        elif reply.credit_bytes <= 0:
            core.park(frame)
            if reply.flowing:
                core.parking.wake(frame.worker, number)
            self._feeder.flush()

    def end(self, channel: Channel, number: int, status: int) -> None:
        """A stream has ended: well if `status` is 0."""
        frame = self._frame(channel, number)
        if frame is None:
            return
        now_s = monotonic()
        job = frame.works[0]
        self._finish(frame, now_s)
        if job.state == DONE:
            reply = self._open.pop(job, None)  # type: ignore[call-overload] # as in `chunk`
            if reply is None:
                message = "The worker ended a stream that it had not begun."
                job.fail_for(self._version, "INTERNAL_ERROR", message, now_s)
            elif status == 0:
                reply.end(now_s)
            elif status == wire.STREAM_FAILED:
                reply.end_failed(now_s)
            else:
                reply.fail()
        self._settle()

    # What happens elsewhere.

    def go_on(self, reply: StreamReply) -> None:
        """The client has caught up."""
        if reply.exchange not in self._open:
            return
        frame = reply.frame
        if reply.credit_bytes <= 0:
            self._feeder.core.parking.wake(frame.worker, frame.number)
            self._feeder.flush()
        elif reply.owed_bytes >= _GRANT_BYTES:
            self._grant(reply)

    def resume(self, frame: Frame[Job]) -> None:
        """The worker of a parked stream has time for it."""
        self._grant(self._open[frame.works[0]])  # type: ignore[index] # only exchanges ask for streams

    def leave(self, exchange: Exchange) -> None:
        """The client of a stream that has begun is gone."""
        self._close(self._open[exchange], monotonic())

    def lost(self, worker: str) -> None:
        """A worker is gone: what its clients have seen cannot be taken back."""
        for reply in [reply for reply in self._open.values() if reply.frame.worker == worker]:
            del self._open[reply.exchange]
            self._feeder.core.give_up(reply.exchange)
            reply.fail()

    def expire(self, now_s: float) -> None:
        """End the streams that have lasted too long."""
        longest_s = self._state.limits.max_stream_s
        # In the order of their beginning: where one may go on, those that follow may.
        for reply in list(takewhile(lambda reply: reply.until_s <= now_s, self._open.values())):
            message = f"This stream has lasted {longest_s:g} s, as long as one may (max_stream_s)."
            self._cut(reply, "max_stream_s", "STREAM_TOO_LONG", message, now_s)

    def states(self) -> Iterator[tuple[str, int]]:
        """How many there are of each kind."""
        parked = sum(reply.credit_bytes <= 0 for reply in self._open.values())
        yield "running", len(self._open) - parked
        yield "parked", parked

    # Inside.

    def _frame(self, channel: Channel, number: int) -> Frame[Job] | None:
        """The frame that a stream's news belong to; None for late news of a stream that was cancelled."""
        core, crew = self._feeder.core, self._feeder.crew
        if not crew.holds(channel):
            return None
        frame = core.workers.find(channel.worker, number)
        if frame is not None and len(frame.works) == 1:
            return frame
        if core.parking.find(channel.worker, number) is not None:
            crew.distrust(channel, _TOO_MUCH)
        return None

    def _grant(self, reply: StreamReply) -> None:
        frame, size_bytes = reply.frame, reply.owed_bytes
        reply.credit_bytes += size_bytes
        reply.owed_bytes = 0
        self._feeder.crew[frame.worker].grant(frame.number, size_bytes)

    def _cut(self, reply: StreamReply, limit: str, code: str, message: str, now_s: float) -> None:
        self.counters.limited(limit)
        self._feeder.core.give_up(reply.exchange)
        self._close(reply, now_s)
        reply.refuse(code, message, now_s)
        self._settle()

    def _close(self, reply: StreamReply, now_s: float) -> None:
        """Nobody wants the rest of it: its worker closes the model's generator."""
        del self._open[reply.exchange]
        self._finish(reply.frame, now_s, cancel=True)

    def _finish(self, frame: Frame[Job], now_s: float, *, cancel: bool = False) -> None:
        feeder = self._feeder
        if cancel:
            feeder.crew[frame.worker].cancel(frame.number)
        if feeder.core.parking.find(frame.worker, frame.number) is None:
            feeder.done(frame, now_s)
        elif not feeder.core.drop_parked(frame):
            feeder.crew.let_go(frame.worker)
