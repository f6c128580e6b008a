"""The worker's side of the wire: one thread, one `select` loop, any number of gateways.

Frames are answered one at a time, taking turns over the connections; streams take turns with them, one chunk a
turn, and wait without holding anything up while their reader has given them no credit (see `wire`). What a peer sends
as a call is answered by a thread beside all that (`calling`). A peer that sends
without reading is read on (up to a bound), so that the two never wait for each other, and gets its next answer only
when it has taken the last one.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from headrace_worker import traces, wire
from headrace_worker.calling import Calls
from headrace_worker.connection import STREAM_BUFFER_BYTES, Connection, Post
from headrace_worker.pieces import Pieces, PiecesApart
from headrace_worker.scoring.streaming import ToldInStream
from headrace_worker.scoring.tracing import TRACER
from headrace_worker.scoring.turns import TURNS
from headrace_worker.spending import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headrace_worker.scoring.tracing import Untraced

RECEIVE_BYTES = 262_144
MAX_UNREAD_BYTES = 256 * 1024 * 1024
"""What may wait, received and not yet answered, on one connection before it is not read any more."""

INTERNAL_ERROR = b'{"error_code": "INTERNAL_ERROR", "message": "The worker failed on this request; see its log."}'
EVENT_STREAM = b"text/event-stream"


class Scoring(Protocol):
    """What `serve` needs of a scorer."""

    def score(
        self, heads: list[bytes], head_index: bytes, bodies: list[memoryview]
    ) -> tuple[list[wire.Answer], wire.Timing, bytes]:
        """One answer for each body, in order; raises nothing."""
        ...

    def wants_stream(self, head: bytes, body: memoryview) -> bool:
        """Whether this request is to be answered by `stream`."""
        ...

    def stream(self, head: bytes, body: memoryview) -> Iterator[bytes] | wire.Answer:
        """The pieces of a streamed answer (its `close` ends the model's work), or why there is no stream."""
        ...


def serve(
    listener: socket.socket,
    scorer: Scoring,
    *,
    stop: Callable[[], bool],
    watch: Sequence[tuple[Any, Callable[[], bool]]] = (),
    on_error: Callable[[BaseException], None] = lambda _: None,
) -> None:
    """Answer gateways on `listener` until `stop()` is true and what was received is answered.

    `stop` is asked after every event, never from another thread; `watch` are further file objects with what to
    call, in this loop, when one is readable (the control channel, a signal's wake-up descriptor), until that
    returns False. `on_error` is told of what should not happen; nothing is raised for anything a peer, a client or
    the model does.
    """
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        loop = _Loop(selector, scorer, on_error)
        selector.register(listener, selectors.EVENT_READ, loop.accept)
        for file, call in watch:
            selector.register(file, selectors.EVENT_READ, _until_over(selector, file, call))
        try:
            loop.run(stop)
        finally:
            loop.close()


def _until_over(selector: selectors.BaseSelector, file: Any, call: Callable[[], bool]) -> Callable[[Any, int], object]:
    return lambda _file, _events: call() or selector.unregister(file)


def _failed(batch_id: int, batch: wire.Batch) -> bytes:
    """What is said to a frame that could not be answered, and no fault of a client's."""
    answer = wire.Answer(500, b"application/json", INTERNAL_ERROR, 0, wire.FLAG_ERROR_OBJECT)
    return wire.encode_answers(batch_id, [answer] * len(batch.bodies))


class _Loop:
    def __init__(
        self, selector: selectors.BaseSelector, scorer: Scoring, on_error: Callable[[BaseException], None]
    ) -> None:
        self._selector = selector
        self._scorer = scorer
        self._on_error = on_error
        self._connections: dict[Connection, None] = {}
        self._calls: Calls[tuple[Connection, int], Post] | None = None
        self._meter = Meter()

    def run(self, stop: Callable[[], bool]) -> None:
        while True:
            if stop() and not self._has_work():
                return
            for key, events in self._selector.select(0 if self._is_ready() else self._look_in_s()):
                key.data(key.fileobj, events)
            self._tell_who_waits()
            for connection in list(self._connections):
                self._take_turn(connection)

    def close(self) -> None:
        for connection in list(self._connections):
            self._drop(connection)
        if self._calls is not None:
            self._selector.unregister(self._calls)
            self._calls.close()

    def accept(self, listener: Any, _events: int) -> None:
        """A gateway connects."""
        try:
            sock, _ = listener.accept()
        except OSError:  # it left again, or there are no descriptors left: the next event tells
            return
        sock.setblocking(False)
        connection = Connection(sock)
        self._connections[connection] = None
        self._selector.register(sock, connection.watching, lambda _sock, events: self._on_event(connection, events))

    def _has_work(self) -> bool:
        return any(c.frames or c.out or c.streams or c.calls for c in self._connections)

    def _is_ready(self) -> bool:
        """Whether some connection can take a turn without anything new arriving."""
        return any(connection.is_ready for connection in self._connections)

    def _on_event(self, connection: Connection, events: int) -> None:
        if connection in self._connections and events & selectors.EVENT_WRITE:
            self._flush(connection)
        if connection in self._connections and events & selectors.EVENT_READ:
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        try:
            frames = connection.reader.feed(data)
            for frame in frames:
                self._take(connection, frame)
        except wire.WireError as error:
            self._refuse(connection, error)
            return
        self._watch(connection)

    def _take(self, connection: Connection, frame: wire.Frame) -> None:
        if frame.kind == wire.CANCEL:
            self._cancel(connection, frame.batch_id)
        elif frame.kind == wire.CREDIT:
            size_bytes = wire.decode_credit(frame.payload)
            stream = connection.streams.get(frame.batch_id)
            if stream is not None:  # else it has ended meanwhile
                stream.allow(size_bytes)
        elif frame.kind == wire.TRACE:
            connection.contexts[frame.batch_id] = traces.decode_trace(frame.payload)
        else:
            connection.frames.append(frame)
            connection.unread_bytes += len(frame.payload)

    def _take_turn(self, connection: Connection) -> None:
        """Answer the connection's oldest frame, if its peer took the last answer; then a chunk of each stream."""
        if connection.frames and not connection.out:
            frame = connection.frames.popleft()
            connection.unread_bytes -= len(frame.payload)
            self._watch(connection)
            if not self._answer_frame(connection, frame):
                return
        for batch_id, stream in list(connection.streams.items()):
            is_open = connection in self._connections and len(connection.out) < STREAM_BUFFER_BYTES
            if is_open and stream.may_go_on:
                self._pull(connection, batch_id, stream)

    def _answer_frame(self, connection: Connection, frame: wire.Frame) -> bool:
        """Answer one frame; False if the connection had to be given up because of it."""
        if frame.kind not in (wire.BATCH, wire.CALL):
            self._refuse(connection, wire.WireError(f"a worker does not take frames of kind {frame.kind}"))
            return False
        try:
            batch = wire.decode_batch(frame.payload)
        except wire.WireError as error:
            self._refuse(connection, error)
            return False
        traced = TRACER.begin(connection.contexts.pop(frame.batch_id, None))
        if frame.kind == wire.CALL:
            self._call(connection, frame.batch_id, batch, traced)
            return True
        self._meter.begin()
        encoded, made = self._answer(frame.batch_id, batch, self._meter, traced)
        if made is None:
            self._end(connection, frame.batch_id, encoded, traced)
        else:
            connection.streams[frame.batch_id] = Pieces(made, traced)
            self._send(connection, encoded)
        return True

    def _answer(
        self, batch_id: int, batch: wire.Batch, meter: Meter, traced: Untraced
    ) -> tuple[bytes, Iterator[bytes] | None]:
        """(the answer's frame, or a stream's head, and what it consists of)."""
        try:
            with TURNS.mine(), traced.here():
                stream = self._open_stream(batch)
                if stream is None:
                    answers, timing, notes = self._scorer.score(batch.heads, batch.head_index, batch.bodies)
                    cpu_us, delay_us = meter.end()
                    timing = timing._replace(cpu_us=cpu_us, delay_us=delay_us)
                    return wire.encode_answers(batch_id, answers, timing, notes), None
            if isinstance(stream, wire.Answer):
                return wire.encode_answers(batch_id, [stream]), None
            return wire.encode_stream_head(batch_id, 200, EVENT_STREAM), stream
        except Exception as error:  # noqa: BLE001 - a defect of ours must not cost the other requests their worker
            self._on_error(error)
            return _failed(batch_id, batch), None

    def _call(self, connection: Connection, batch_id: int, batch: wire.Batch, traced: Untraced) -> None:
        """Have a thread answer a frame."""
        calls = self._calls
        if calls is None:
            calls = self._calls = Calls()
            self._selector.register(calls, selectors.EVENT_READ, lambda _file, _events: self._take_posts())
        try:
            calls.run((connection, batch_id), partial(self._run_call, calls, connection, batch_id, batch, traced))
        except RuntimeError as error:
            self._on_error(error)
            self._end(connection, batch_id, _failed(batch_id, batch), traced)
        else:
            connection.calls.add(batch_id)

    def _look_in_s(self) -> float | None:
        return self._calls.look_in_s() if self._calls is not None else None

    def _tell_who_waits(self) -> None:
        for (connection, batch_id), spent in self._calls.waiting() if self._calls is not None else ():
            if batch_id in connection.calls and connection in self._connections:
                self._send(connection, wire.encode_waits(batch_id, *spent))

    def _run_call(
        self, calls: Calls[Any, Post], connection: Connection, batch_id: int, batch: wire.Batch, traced: Untraced
    ) -> None:
        """Answer a frame. In a thread of its own."""
        encoded, made = self._answer(batch_id, batch, calls.meter(), traced)
        if made is None:
            self._post_end(calls, connection, batch_id, encoded, traced)
            return
        stream = PiecesApart(made, traced)
        calls.post(Post(connection, batch_id, encoded, stream=stream))
        status = 0
        try:
            while stream.wait():
                with TURNS.mine():
                    chunk = stream.chunk()
                if chunk is None:
                    break
                calls.post(Post(connection, batch_id, wire.encode_stream_chunk(batch_id, chunk)))
            with TURNS.mine():
                stream.end()
        except ToldInStream:
            status = wire.STREAM_FAILED
        except Exception as error:  # noqa: BLE001 - as in _answer
            self._on_error(error)
            status = 500
        self._post_end(calls, connection, batch_id, wire.encode_stream_end(batch_id, status), traced)

    def _post_end(
        self, calls: Calls[Any, Post], connection: Connection, batch_id: int, data: bytes, traced: Untraced
    ) -> None:
        calls.post(Post(connection, batch_id, data, is_last=True))
        if spans := traced.told(batch_id):
            calls.post(Post(connection, batch_id, spans))

    def _take_posts(self) -> None:
        for post in self._calls.take() if self._calls is not None else ():
            connection, batch_id = post.connection, post.batch_id
            if connection not in self._connections:
                if post.stream is not None:
                    post.stream.close()
                continue
            if post.stream is not None:
                connection.streams[batch_id] = post.stream
            if post.is_last:
                connection.calls.discard(batch_id)
                connection.streams.pop(batch_id, None)
            self._send(connection, post.data)

    def _open_stream(self, batch: wire.Batch) -> Iterator[bytes] | wire.Answer | None:
        if len(batch.bodies) != 1:  # a gateway sends what may be a stream by itself
            return None
        head = batch.heads[batch.head_index[0]]
        return self._scorer.stream(head, batch.bodies[0]) if self._scorer.wants_stream(head, batch.bodies[0]) else None

    def _pull(self, connection: Connection, batch_id: int, stream: Pieces) -> None:
        """Send one more chunk of a stream."""
        try:
            with TURNS.mine():
                chunk = stream.chunk()
            if chunk is not None:
                self._send(connection, wire.encode_stream_chunk(batch_id, chunk))
                return
            status = 0
        except ToldInStream:
            status = wire.STREAM_FAILED
        except Exception as error:  # noqa: BLE001 - as in _answer
            self._on_error(error)
            status = 500
        connection.streams.pop(batch_id, None)
        self._end(connection, batch_id, wire.encode_stream_end(batch_id, status), stream.traced)

    def _cancel(self, connection: Connection, batch_id: int) -> None:
        stream = connection.streams.pop(batch_id, None)
        if stream is not None:
            self._close_stream(stream)
            if not isinstance(stream, PiecesApart):  # whose thread tells, when it has seen this
                self._end(connection, batch_id, b"", stream.traced)

    def _end(self, connection: Connection, batch_id: int, data: bytes, traced: Untraced) -> None:
        """Send the last of an answer, and then what was traced in it."""
        self._send(connection, data)
        if spans := traced.told(batch_id):
            self._send(connection, spans)

    def _close_stream(self, stream: Pieces) -> None:
        try:
            with TURNS.mine():
                stream.close()
        except Exception as error:  # noqa: BLE001 - a model's `finally` may raise
            self._on_error(error)

    def _send(self, connection: Connection, data: bytes) -> None:
        """Send now what the socket takes, keep the rest for when it takes more."""
        if connection.out:
            connection.out += data
            return
        try:
            sent = connection.socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._drop(connection)
            return
        if sent < len(data):
            connection.out += memoryview(data)[sent:]
            self._watch(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(memoryview(connection.out)[:RECEIVE_BYTES]) if connection.out else 0
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(connection)
            return
        del connection.out[:sent]
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        wanted = selectors.EVENT_WRITE if connection.out else 0
        if connection.unread_bytes < MAX_UNREAD_BYTES:
            wanted |= selectors.EVENT_READ
        if wanted != connection.watching and wanted:
            self._selector.modify(connection.socket, wanted, self._selector.get_key(connection.socket).data)
            connection.watching = wanted

    def _refuse(self, connection: Connection, error: wire.WireError) -> None:
        self._on_error(error)
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._selector.unregister(connection.socket)
        with contextlib.suppress(OSError):
            connection.socket.close()
        streams, connection.streams = connection.streams, {}
        connection.frames.clear()
        connection.out.clear()
        for stream in streams.values():
            self._close_stream(stream)
