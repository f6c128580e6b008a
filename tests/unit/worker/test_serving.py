"""The worker's socket loop, against peers that behave and peers that do not."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_worker import serving, wire
from headrace_worker.calling import LOOK_AFTER_S
from headrace_worker.scoring import ToldInStream

HEAD = wire.head(b"application/json")


class Upper:
    """Answers in capitals; streams the letters of a body that starts with 's'."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.gate = threading.Event()
        self.batches: list[int] = []

    def score(
        self, _heads: list[bytes], _index: bytes, bodies: list[memoryview]
    ) -> tuple[list[wire.Answer], wire.Timing, bytes]:
        self.batches.append(len(bodies))
        if bytes(bodies[0]) == b"fail":
            raise RuntimeError("a defect")
        if bytes(bodies[0]) == b"wait":
            assert self.gate.wait(60)
        while bytes(bodies[0]) == b"burn" and not self.gate.is_set():
            pass
        return [wire.Answer(200, b"text/plain", bytes(b).upper(), 1) for b in bodies], wire.Timing(1, 2, 3, 1), b"{}"

    def wants_stream(self, _head: bytes, body: memoryview) -> bool:
        return bytes(body[:1]) == b"s"

    def stream(self, _head: bytes, body: memoryview) -> Iterator[bytes] | wire.Answer:
        return wire.Answer(400, b"text/plain", b"no") if bytes(body) == b"s-no" else self._letters(bytes(body))

    def _letters(self, body: bytes) -> Iterator[bytes]:
        try:
            if body == b"s-forever":
                while True:
                    yield b"x" * 1000
            if body == b"s-large":
                yield b"x" * 1_000_000
                return
            for i in range(len(body)):
                if body[i : i + 1] == b"!":
                    raise RuntimeError("a defect")
                if body[i : i + 1] == b"?":
                    raise ToldInStream
                yield body[i : i + 1]
        finally:
            self.closed.set()


class Server:
    """`serve` in a thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.scorer = Upper()
        self.errors: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._wake, self._woken = socket.socketpair()
        self._stopping = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        serving.serve(
            self._listener,
            self.scorer,
            stop=lambda: self._stopping,
            watch=[(self._woken, lambda: bool(self._woken.recv(1)))],
            on_error=self.errors.append,
        )

    def stop(self) -> None:
        self._stopping = True
        self._wake.send(b"x")

    def close(self) -> None:
        self.stop()
        self.thread.join(60)
        for sock in (self._listener, self._wake, self._woken):
            sock.close()
        assert not self.thread.is_alive()


class Peer:
    """A gateway's connection."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(server.path)
        self._reader = wire.FrameReader()
        self._frames: list[wire.Frame] = []

    def ask(self, batch_id: int, *bodies: bytes) -> None:
        self.socket.sendall(wire.encode_batch(batch_id, [HEAD], bytes(len(bodies)), bodies))

    def call(self, batch_id: int, body: bytes) -> None:
        self.socket.sendall(wire.encode_batch(batch_id, [HEAD], b"\0", [body], wire.CALL))

    def frame(self) -> wire.Frame:
        while not self._frames:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def bodies(self) -> list[bytes]:
        return [answer.body for answer in wire.decode_answers(self.frame().payload).answers]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(str(tmp_path / "worker.sock"))
    yield server
    server.close()


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    peer = Peer(server)
    yield peer
    peer.socket.close()


def test_a_batch_is_answered_whole_and_in_order(peer: Peer) -> None:
    peer.ask(7, b"a", b"b", b"")
    frame = peer.frame()
    answers = wire.decode_answers(frame.payload)
    assert (frame.kind, frame.batch_id) == (wire.ANSWERS, 7)
    assert [a.body for a in answers.answers] == [b"A", b"B", b""]
    assert (answers.timing._replace(cpu_us=0, delay_us=0), answers.notes) == (wire.Timing(1, 2, 3, 1), b"{}")


def test_a_peer_that_sends_much_before_it_reads_gets_everything(peer: Peer) -> None:
    body = b"x" * 3_000_000
    for i in range(8):  # far more than both socket buffers: had the worker waited for us to read, we would hang here
        peer.ask(i, body)
    assert [peer.bodies() for _ in range(8)] == [[body.upper()]] * 8


def test_a_peer_that_does_not_read_does_not_hold_up_another(server: Server, peer: Peer) -> None:
    lazy = Peer(server)
    lazy.ask(1, b"y" * 5_000_000)
    peer.ask(2, b"a")
    assert peer.bodies() == [b"A"]
    assert lazy.bodies() == [b"Y" * 5_000_000]
    lazy.socket.close()


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\0\0\0\0\0",
        b"\xff" * 64,
        wire.encode_stream_end(1),
        wire.encode_batch(1, [HEAD], b"\0", [b"x"])[:-1].replace(b"\x01", b"\x00", 1),
    ],
)
def test_a_peer_that_sends_rubbish_is_dropped_alone(server: Server, peer: Peer, rubbish: bytes) -> None:
    bad = Peer(server)
    with contextlib.suppress(OSError):
        bad.socket.sendall(rubbish)
        bad.socket.shutdown(socket.SHUT_WR)
    with pytest.raises((EOFError, OSError)):
        bad.frame()
    bad.socket.close()
    peer.ask(1, b"a")
    assert peer.bodies() == [b"A"]


def test_a_frame_in_many_pieces_is_one_frame(peer: Peer) -> None:
    for byte in wire.encode_batch(3, [HEAD], b"\0", [b"abc"]):
        peer.socket.sendall(bytes([byte]))
    assert peer.bodies() == [b"ABC"]


def test_a_defect_of_the_scorer_is_an_answer_and_is_reported(server: Server, peer: Peer) -> None:
    peer.ask(1, b"fail", b"x")
    answers = wire.decode_answers(peer.frame().payload).answers
    assert [a.status for a in answers] == [500, 500]
    assert [str(e) for e in server.errors] == ["a defect"]


def test_a_stream_is_a_head_chunks_and_an_end(server: Server, peer: Peer) -> None:
    peer.ask(9, b"sse")
    frames = [peer.frame() for _ in range(5)]
    assert [f.kind for f in frames] == [wire.STREAM_HEAD, *[wire.STREAM_CHUNK] * 3, wire.STREAM_END]
    assert wire.decode_status(frames[0].payload) == (200, b"text/event-stream")
    assert [bytes(f.payload) for f in frames[1:4]] == [b"s", b"s", b"e"]
    assert wire.decode_status(frames[4].payload)[0] == 0
    assert server.scorer.closed.is_set()


def test_a_stream_that_cannot_start_is_an_ordinary_answer(peer: Peer) -> None:
    peer.ask(9, b"s-no")
    assert peer.bodies() == [b"no"]


def test_a_stream_that_fails_says_so_at_its_end(peer: Peer) -> None:
    peer.ask(9, b"s!")
    assert [peer.frame().kind for _ in range(2)] == [wire.STREAM_HEAD, wire.STREAM_CHUNK]
    assert wire.decode_status(peer.frame().payload)[0] == 500
    peer.ask(10, b"s?")
    assert [peer.frame().kind for _ in range(2)] == [wire.STREAM_HEAD, wire.STREAM_CHUNK]
    assert wire.decode_status(peer.frame().payload)[0] == wire.STREAM_FAILED


def test_a_cancelled_stream_is_closed_and_the_connection_goes_on(server: Server, peer: Peer) -> None:
    peer.ask(4, b"s-forever")
    assert peer.frame().kind == wire.STREAM_HEAD
    peer.socket.sendall(wire.encode_cancel(4) + wire.encode_cancel(99))
    assert server.scorer.closed.wait(60)
    peer.ask(5, b"a")
    frame = peer.frame()
    while frame.kind == wire.STREAM_CHUNK:
        frame = peer.frame()
    assert (frame.kind, frame.batch_id) == (wire.ANSWERS, 5)


def test_batches_are_answered_while_a_stream_runs(server: Server, peer: Peer) -> None:
    streaming = Peer(server)
    streaming.ask(1, b"s-forever")
    assert streaming.frame().kind == wire.STREAM_HEAD
    for i in range(3):
        peer.ask(i, b"a")
        assert peer.bodies() == [b"A"]
    streaming.socket.close()
    assert server.scorer.closed.wait(60)


def test_stopping_answers_what_was_received(server: Server) -> None:
    peer = Peer(server)
    peer.ask(1, b"a")
    assert peer.bodies() == [b"A"]
    server.stop()
    server.thread.join(60)
    with pytest.raises(EOFError):
        peer.frame()
    peer.socket.close()


def chunks(peer: Peer, size_bytes: int) -> int:
    """Read chunks of a stream until `size_bytes` have come; how many have."""
    got = 0
    while got < size_bytes:
        frame = peer.frame()
        assert frame.kind == wire.STREAM_CHUNK
        assert len(frame.payload) <= wire.STREAM_CHUNK_BYTES
        got += len(frame.payload)
    return got


def test_a_stream_waits_for_credit_and_holds_nobody_up(server: Server, peer: Peer) -> None:
    peer.ask(4, b"s-forever")
    assert peer.frame().kind == wire.STREAM_HEAD
    allowed = wire.STREAM_WINDOW_BYTES
    got = chunks(peer, allowed)
    for more in (1, 100_000):
        assert got < allowed + wire.STREAM_CHUNK_BYTES
        peer.ask(5, b"a")
        assert peer.bodies() == [b"A"], "nothing more of the stream comes, and others are answered"
        peer.socket.sendall(wire.encode_credit(4, more + got - allowed) + wire.encode_credit(99, 1))
        allowed = got + more
        got += chunks(peer, more)
    peer.socket.sendall(wire.encode_cancel(4))
    assert server.scorer.closed.wait(60)


def test_a_large_piece_is_sent_in_parts(peer: Peer) -> None:
    peer.ask(4, b"s-large")
    assert peer.frame().kind == wire.STREAM_HEAD
    got = chunks(peer, wire.STREAM_WINDOW_BYTES)
    while got < 1_000_000:
        peer.socket.sendall(wire.encode_credit(4, wire.STREAM_CHUNK_BYTES))
        got += chunks(peer, min(wire.STREAM_CHUNK_BYTES, 1_000_000 - got))
    assert peer.frame().kind == wire.STREAM_END


def test_credit_that_is_none_is_rubbish(server: Server, peer: Peer) -> None:
    peer.ask(4, b"s-forever")
    assert [peer.frame().kind for _ in range(2)] == [wire.STREAM_HEAD, wire.STREAM_CHUNK]
    peer.socket.sendall(wire.encode_credit(4, 1)[:-1].replace(b"\x09", b"\x08", 1))
    assert server.scorer.closed.wait(60), "the connection is given up, and its streams with it"


def test_a_call_that_waits_is_told_of_while_it_does(server: Server, peer: Peer) -> None:
    """Whoever computes is not: a model's `predict` lets others have their turn, which this one does not."""
    peer.call(1, b"wait")
    told = peer.frame()
    assert (told.kind, told.batch_id) == (wire.WAITS, 1)
    wall_us, cpu_us, delay_us = wire.decode_waits(told.payload)
    assert cpu_us + delay_us < wall_us / 2
    later = peer.frame()
    assert later.kind == wire.WAITS, "and told of again"
    assert wire.decode_waits(later.payload)[0] > wall_us
    server.scorer.gate.set()
    while (answer := peer.frame()).kind == wire.WAITS:
        pass
    assert wire.decode_answers(answer.payload).answers[0].body == b"WAIT"


def test_a_call_that_computes_is_not_told_of(server: Server, peer: Peer) -> None:
    peer.call(1, b"burn")
    time.sleep(3 * LOOK_AFTER_S)
    server.scorer.gate.set()
    assert peer.bodies() == [b"BURN"]


def test_without_threads_calls_are_refused_and_the_worker_goes_on(
    server: Server, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        peer.call(1, b"a")
        assert peer.bodies() == [serving.INTERNAL_ERROR]
    assert isinstance(server.errors.pop(), RuntimeError)
    peer.call(2, b"a")
    assert peer.bodies() == [b"A"]


def test_calls_wait_for_a_thread_where_no_more_can_be_started(
    server: Server, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    peer.call(1, b"a")
    assert peer.bodies() == [b"A"]
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for number in range(2, 7):
        peer.call(number, b"b")
    assert [peer.bodies() for _ in range(5)] == [[b"B"]] * 5
    assert not server.errors
