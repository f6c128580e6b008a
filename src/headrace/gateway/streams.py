"""An answer that comes in pieces: from a worker's stream frames to a chunked HTTP answer.

Back-pressure goes all the way: while the client's connection cannot take more, or while the stream's turn on it has not
come, the worker's socket is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.gateway import answers

if TYPE_CHECKING:
    from headrace.gateway.channel import Channel
    from headrace.gateway.connection import Connection
    from headrace.gateway.counters import PoolCounters
    from headrace.gateway.exchange import Exchange

_LAST_CHUNK = b"0\r\n\r\n"


class StreamReply:
    """The answer of one exchange while it streams from one worker. `held` is what waits for its turn."""

    __slots__ = ("_channel", "_chunked", "_exchange", "_request_id", "_size_bytes", "_status", "ended", "held")

    def __init__(self, exchange: Exchange, channel: Channel, status: int) -> None:
        self._exchange = exchange
        self._channel = channel
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer.
        self._chunked = not exchange.request.http10
        self._request_id = b""
        self._size_bytes = 0
        self._status = status
        self.held: list[bytes] = []
        self.ended = False
        exchange.reply = self

    def begin(self, prefix: bytes) -> None:
        """Send the head. `prefix` is all of it that does not depend on the request."""
        exchange = self._exchange
        connection = exchange.connection
        if connection is None:
            return
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        option = exchange.connection_option(connection) if self._chunked else answers.CLOSE
        request_id = self._request_id = exchange.request_id(connection)
        self._write(b"%b%b%bx-request-id: %b\r\n\r\n" % (prefix, framing, option, request_id))

    def chunk(self, data: bytes) -> None:
        """Send a piece."""
        if data:
            self._size_bytes += len(data)
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, now_s: float) -> None:
        """The stream ended well."""
        self.ended = True
        if self._exchange.charge is not None:
            self._exchange.charge.release()
        connection = self._exchange.connection
        if connection is not None:
            self._record(connection, now_s)
            connection.end_stream(self._exchange, _LAST_CHUNK if self._chunked else b"", now_s, last=not self._chunked)

    def break_off(self, counters: PoolCounters) -> None:
        """The stream cannot be finished: the client must see that it is not whole, and the model has failed."""
        counters.model_failed(self._status)
        if self._exchange.charge is not None:
            self._exchange.charge.release()
        connection = self._exchange.connection
        if connection is not None:
            connection.transport.abort()  # which is recorded as a client's leaving: neither got what it wanted

    def go_on(self) -> None:
        """The client's connection takes more."""
        self._channel.resume_reading()

    def _record(self, connection: Connection, now_s: float) -> None:
        recording = connection.gateway.recording
        if recording is not None:
            recording.streamed(self._exchange, self._status, self._size_bytes, self._request_id, now_s)

    def _write(self, data: bytes) -> None:
        connection = self._exchange.connection
        if connection is not None and not connection.write_part(self._exchange, data):
            self._channel.pause_reading()
