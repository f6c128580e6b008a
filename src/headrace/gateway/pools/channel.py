"""The gateway's end of a worker's Unix socket: frames out, answers in. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from headrace_worker import traces, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.core.serving.assignments import Frame
    from headrace.core.serving.batching import W
    from headrace.gateway.exchange import SpanLog

_LARGE_BYTES = 256 * 1024


class ChannelEvents(Protocol):
    """Who is told of answers, and of the end."""

    def answered(self, channel: Channel, number: int, decoded: wire.Answers) -> None:
        """The worker has answered its frame of that number."""

    def waits(self, channel: Channel, number: int, spent: tuple[int, int, int]) -> None:
        """The worker says of the call of that number that it goes on, and mostly waits: see `wire.decode_waits`."""

    def lost(self, channel: Channel) -> None:
        """The connection has ended."""


class StreamEvents(Protocol):
    """Who is told of streamed answers; `number` is that of the frame whose only request is answered."""

    def head(self, channel: Channel, number: int, status: int, content_type: bytes) -> None:
        """A stream begins."""

    def chunk(self, channel: Channel, number: int, data: bytes) -> None:
        """The next piece of it."""

    def end(self, channel: Channel, number: int, status: int) -> None:
        """It has ended: well if `status` is 0."""


class Channel(asyncio.Protocol):
    """A connection to one worker. `distrust` is called where the worker says what is no frame.

    `spans` is told of what was traced in frames that were sent with `contexts`.
    """

    __slots__ = ("_contexts", "_distrust", "_events", "_fd", "_reader", "_spans", "_streams", "transport", "worker")

    transport: asyncio.Transport

    def __init__(
        self,
        worker: str,
        events: ChannelEvents,
        streams: StreamEvents,
        distrust: Callable[[Channel, str], None],
        spans: SpanLog | None = None,
    ) -> None:
        self.worker = worker
        self._events = events
        self._streams = streams
        self._distrust = distrust
        self._reader = wire.FrameReader()
        self._spans = spans
        self._contexts: dict[int, list[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport  # type: ignore[assignment]
        self._fd: int = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except wire.WireError as error:
            # The stream is out of step and cannot be trusted again.
            self._distrust(self, str(error))
        except Exception as error:  # noqa: BLE001 - told with its traceback; it costs this worker, and no other
            self._distrust(self, f"{type(error).__name__}: {error}")
            context = {"message": "a worker's frame could not be taken", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._events.lost(self)

    def send(self, frame: Frame[W], *, beside: bool, contexts: list[bytes] | None = None) -> None:
        """Send the requests of `frame`; `beside`: the worker is to answer it beside others.

        `contexts` are those of the traced ones among them, see `records.ModelSpans`.
        """
        works = frame.works
        if contexts:
            self._contexts[frame.number] = contexts
            self._write(traces.encode_trace(frame.number, contexts[0]))
        kind = wire.CALL if beside else wire.BATCH
        if len(works) == 1:
            work = works[0]
            body = work.body
            if len(body) > _LARGE_BYTES:
                # Not put together: that would be a second copy of it, and a third of what does not fit the socket.
                if not self.transport.is_closing():
                    prefix = wire.batch_prefix(frame.number, (work.head,), b"\0", (body,), kind)
                    self.transport.writelines((*prefix, body))
                return
            self._write(wire.encode_batch(frame.number, (work.head,), b"\0", (body,), kind))
            return
        heads: dict[bytes, int] = {}
        index = bytes([heads.setdefault(work.head, len(heads)) for work in works])
        self._write(wire.encode_batch(frame.number, list(heads), index, [work.body for work in works], kind))

    def cancel(self, number: int) -> None:
        """Nobody reads the stream that frame `number` brings any more; what still comes of it is ignored."""
        self._write(wire.encode_cancel(number))

    def grant(self, number: int, size_bytes: int) -> None:
        """So much more of the stream that frame `number` brings may be sent."""
        self._write(wire.encode_credit(number, size_bytes))

    def drop(self) -> None:
        """End the connection at once; what is in flight is lost."""
        self.transport.abort()

    def close(self) -> None:
        """End the connection; nothing is in flight."""
        self.transport.close()

    def _write(self, data: bytes | memoryview) -> None:
        """Write now if that is possible.

        The loop's own write comes after all else that is ready to be read, and a worker that waits for its next frame
        is the one thing that must not wait for that.
        """
        transport = self.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() == 0:
            with contextlib.suppress(OSError):  # not now, or not ever: the transport will find out
                sent = os.write(self._fd, data)
                if sent == len(data):
                    return
                data = memoryview(data)[sent:]
        transport.write(data)

    def _take(self, frame: wire.Frame) -> None:
        if frame.kind == wire.ANSWERS:
            self._events.answered(self, frame.batch_id, wire.decode_answers(frame.payload))
        elif frame.kind == wire.STREAM_CHUNK:
            self._streams.chunk(self, frame.batch_id, bytes(frame.payload))
        elif frame.kind == wire.STREAM_HEAD:
            self._streams.head(self, frame.batch_id, *wire.decode_status(frame.payload))
        elif frame.kind == wire.STREAM_END:
            self._streams.end(self, frame.batch_id, wire.decode_status(frame.payload)[0])
        elif frame.kind == wire.WAITS:
            self._events.waits(self, frame.batch_id, wire.decode_waits(frame.payload))
        elif frame.kind == wire.SPANS and self._spans is not None and frame.batch_id in self._contexts:
            self._spans.spans(self._contexts.pop(frame.batch_id), traces.decode_spans(frame.payload))
        else:
            raise wire.WireError(f"a worker may not send frames of kind {frame.kind}")
