"""Tells the recorder of requests that are over: bounded, never waiting, and not there at all while nothing is recorded.

A record is encoded at once into a buffer that goes out every `_FLUSH_S`. Nothing is kept alive for it, and nothing
waits for the recorder: what it does not take in time is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.core.protocol.records import ACCESS, CLIENT_CLOSED, LOGS, MLFLOW, PREDICTION, SLOW
from headrace.core.serving.sampling import point
from headrace.gateway.http.targets import Want
from headrace.gateway.tracing import Tracer
from headrace_worker.wire import FLAG_MODEL_ERROR, NO_TIMING

if TYPE_CHECKING:
    from headrace.core.protocol import messages
    from headrace.core.telemetry.totals import Sample
    from headrace.gateway.exchange import Exchange, Job, Source
    from headrace.gateway.version import ServedVersion
    from headrace_worker.wire import Answer

_FLUSH_S = 0.05
_FLUSH_BYTES = 256 * 1024
_MAX_HELD_BYTES = 16 * 1024 * 1024
_RECONNECT_S = 0.2
_FINISH_S = 2.0
_MAX_PATH_BYTES = 256
_FRAME_HEAD = struct.Struct("<I")
_ARRAY_HEAD = struct.Struct(">BI")
_NAMES = {**{want: want.name.lower() for want in Want}, Want.INVOKE: "invocations"}
_REFUSED = "refused"
_SPANS = "model_spans"


class Recording:
    """One gateway's line to the recorder. `now_s` is monotonic everywhere, as in the rest of the gateway."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: messages.Recording,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._loop = loop
        self._options = options
        self._slow_s = float("inf") if options.slow_s is None else options.slow_s
        # Of these requests every one, of those below this point: 1.0 is all, 0.0 none.
        self._access_below = {"off": 0.0, "sampled": options.access_sample, "full": 1.0}[options.access]
        self._tracer = Tracer(options)
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self._count = 0
        self._spans = bytearray()
        self._span_count = 0
        self._held = dict.fromkeys(LOGS.values(), 0)
        self._lost = dict.fromkeys((*LOGS.values(), _SPANS), 0)
        self._unsaid = dict.fromkeys(self._lost, 0)
        self._timer: asyncio.TimerHandle | None = None
        self._line: _Line | None = None
        self._ended = False
        self._ahead_s = time() - monotonic()
        self._keeping = spawn(self._keep_connected())

    def answered(
        self, exchange: Exchange, answer: Answer, source: Source, request_id: bytes, now_s: float, cached: bytes
    ) -> None:
        """A worker's answer, or a kept one, has been given to the client."""
        size_bytes = len(answer.body)
        self._add(exchange, source.version, answer.status, "", answer, size_bytes, request_id, now_s, cached, source)

    def replied(
        self, exchange: Exchange, status: int, size_bytes: int, code: str, request_id: bytes, now_s: float
    ) -> None:
        """The gateway has answered by itself; `code` is the error's, if it is one."""
        self._add(exchange, _version(exchange), status, code, None, size_bytes, request_id, now_s, b"")

    def streamed(
        self, exchange: Exchange, status: int, size_bytes: int, code: str, request_id: bytes, now_s: float
    ) -> None:
        """A stream has ended; `code` is that of its last event, if that is an error of the gateway's."""
        self._add(exchange, _version(exchange), status, code, None, size_bytes, request_id, now_s, b"")

    def left(self, exchange: Exchange, now_s: float) -> None:
        """The client has gone before its answer came."""
        request_id = exchange.request.request_id or b""
        self._add(exchange, _version(exchange), CLIENT_CLOSED, "", None, 0, request_id, now_s, b"")

    def contexts(self, works: Sequence[Job]) -> list[bytes]:
        """What a worker is told of the traced requests among these."""
        return self._tracer.contexts(works)

    def spans(self, contexts: list[bytes], told: bytes) -> None:
        """A worker has told what was traced while it worked on these."""
        if len(self._spans) > _MAX_HELD_BYTES:
            self._lost[_SPANS] += 1
            self._unsaid[_SPANS] += 1
            return
        self._encoder.encode_into((contexts, told), self._spans, -1)
        self._span_count += 1
        self._flush_soon(len(self._spans))

    def samples(self) -> list[Sample]:
        """What was dropped here: the recorder did not take it in time."""
        return [
            ("headrace_records_total", (("log", log), ("result", "unsent")), count)
            for log, count in self._lost.items()
            if count
        ]

    async def finish(self) -> None:
        """Send what is there, as far as the recorder takes it in time, and end."""
        self._ended = True
        self._keeping.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._holds and self._line is None:  # the recorder is still starting, or starting again
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_S):
                    await self._connect()
        self._flush()
        if self._line is not None:
            self._line.transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_S):
                    await self._line.closed.wait()

    def _add(
        self,
        exchange: Exchange,
        version: ServedVersion | None,
        status: int,
        code: str,
        answer: Answer | None,
        bytes_out: int,
        request_id: bytes,
        now_s: float,
        cached: bytes,
        source: Source | None = None,
    ) -> None:
        request = exchange.request
        arrived_s = exchange.arrived_s
        total_s = now_s - arrived_s
        below = self._access_below
        wanted_by = 0
        if below and (below >= 1.0 or status >= 500 or point(request_id) < below):
            wanted_by = ACCESS
        if total_s >= self._slow_s:
            wanted_by |= SLOW
        body_in = body_out = None
        keeping = version.route.prediction_log if version is not None and answer is not None else None
        if keeping is not None and answer is not None and (keeping.sample >= 1.0 or point(request_id) < keeping.sample):
            wanted_by |= PREDICTION
            body_in = exchange.body if len(exchange.body) <= keeping.max_body_bytes else None
            body_out = answer.body if len(answer.body) <= keeping.max_body_bytes else None
        trace = None
        if self._tracer.is_on:
            place = self._tracer.place(exchange)
            wanted_by |= place.wanted_by
            trace = place[:5] if place.wanted_by else None
        if not wanted_by:
            return
        if len(self._buffer) > _MAX_HELD_BYTES:
            self._drop(wanted_by)
            return
        timing = source.timing if source is not None else NO_TIMING
        # A request that waits together with others for one computation was sent with that.
        sent_s = exchange.sent_s if exchange.flight is None else exchange.flight.sent_s
        was_sent = sent_s > arrived_s
        queue_s = sent_s - arrived_s if was_sent else total_s if version is not None and answer is None else 0.0
        target = request.target
        connection = exchange.connection
        self._hold(
            wanted_by,
            (
                wanted_by,
                arrived_s + self._ahead_s,
                request_id,
                request.method,
                request.url.partition(b"?")[0][:_MAX_PATH_BYTES],
                _NAMES[target.want] if request.url else _REFUSED,
                target.model,
                version.config.label if version is not None else "",
                status,
                code,
                answer is not None and bool(answer.flags & FLAG_MODEL_ERROR),
                answer.rows if answer is not None else 0,
                exchange.size_bytes,
                bytes_out,
                queue_s,
                total_s - queue_s if was_sent else 0.0,
                total_s,
                source.frame_number if source is not None else 0,
                source.frame_requests if source is not None else 0,
                timing.parse_us,
                timing.predict_us,
                timing.serialise_us,
                cached,
                connection.peer() if connection is not None else b"",
                request.http10,
                request.host,
                exchange.head,
                body_in,
                body_out,
                trace,
            ),
        )

    def _hold(self, wanted_by: int, record: tuple[object, ...]) -> None:
        buffer = self._buffer
        self._encoder.encode_into(record, buffer, -1)
        self._count += 1
        for log in _logs(wanted_by):
            self._held[log] += 1
        self._flush_soon(len(buffer))

    def _flush_soon(self, held_bytes: int) -> None:
        if held_bytes >= _FLUSH_BYTES and self._line is not None:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._ahead_s = time() - monotonic()
        self._flush()
        if self._holds and not self._ended:
            self._timer = self._loop.call_later(_FLUSH_S, self._on_timer)

    @property
    def _holds(self) -> bool:
        return bool(self._count or self._span_count)

    def _flush(self) -> None:
        """Hand everything over if there is somebody; what does not fit any more is dropped by `_add`."""
        line = self._line
        if line is None or not self._holds or line.transport.is_closing():
            return
        on_its_way = line.transport.get_write_buffer_size()
        size_bytes = len(self._buffer) + len(self._spans)
        if on_its_way and on_its_way + size_bytes > _MAX_HELD_BYTES:
            return
        lost = self._encoder.encode({log: count for log, count in self._unsaid.items() if count})
        # A `Batch`, put together by hand: an array of three, whose others are arrays of what is held, as it is.
        head = b"\x93" + lost + _ARRAY_HEAD.pack(0xDD, self._count)
        between = _ARRAY_HEAD.pack(0xDD, self._span_count)
        size = _FRAME_HEAD.pack(len(head) + len(between) + size_bytes)
        line.transport.write(b"".join((size, head, self._buffer, between, self._spans)))
        self._buffer.clear()
        self._spans.clear()
        self._count = self._span_count = 0
        self._held = dict.fromkeys(self._held, 0)
        self._unsaid = dict.fromkeys(self._unsaid, 0)

    def _drop(self, wanted_by: int) -> None:
        for log in _logs(wanted_by):
            self._lost[log] += 1
            self._unsaid[log] += 1

    async def _keep_connected(self) -> None:
        while True:
            line = await self._connect()
            await line.closed.wait()
            self._line = None
            await asyncio.sleep(_RECONNECT_S)

    async def _connect(self) -> _Line:
        while True:
            with contextlib.suppress(OSError):
                _, line = await self._loop.create_unix_connection(_Line, self._options.socket)
                self._line = line
                return line
            await asyncio.sleep(_RECONNECT_S)


class _Line(asyncio.Protocol):
    """The connection; nothing is read from it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed.set()


def _version(exchange: Exchange) -> ServedVersion | None:
    """The version that worked on it, if one did."""
    return exchange.pool.version if exchange.pool is not None else None


def _logs(wanted_by: int) -> tuple[str, ...]:
    return _BY_BITS[wanted_by]


_BY_BITS = tuple(
    tuple(log for bit, log in LOGS.items() if bits & bit or (bit == ACCESS and bits & SLOW))
    for bits in range(2 * MLFLOW)
)
