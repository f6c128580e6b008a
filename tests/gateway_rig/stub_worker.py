"""A worker without a model: speaks the wire over a real socket and does what the bodies tell it.

    python -m tests.gateway_rig.stub_worker --socket PATH [--fixed-ms 1] [--row-us 13] [--burn] [--log PATH]

Each body is answered with ``{"predictions": [body]}``, so that a misrouted answer shows. Bodies that begin with ``!``
are orders: ``!die`` (exit without an answer), ``!hang`` (until killed), ``!wait PATH`` (until that file exists),
``!status N``, ``!error`` (400 with an error object), ``!fail`` (as a model that raises), ``!big N`` (N bytes),
``!stream N`` (N chunks), ``!flood N`` (N of 60 kB), ``!greedy N`` (the same, without asking whether it may),
``!break N`` (a stream that breaks off after N chunks), ``!dribble PATH`` (stream until the file exists), ``!garbage``
(bytes that are no frame). ``--log`` gets one line a frame: the bodies as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from headrace_worker import wire

JSON = b"application/json"
STREAMS = {b"!stream", b"!flood", b"!break", b"!dribble", b"!greedy"}


def answer_to(body: bytes) -> wire.Answer:
    """Obey or echo."""
    if body.startswith(b"!"):
        order, _, rest = body.decode().partition(" ")
        if order == "!die":
            os._exit(9)
        if order == "!hang":
            while True:
                time.sleep(3600)
        if order == "!wait":
            while not Path(rest).exists():
                time.sleep(0.002)
        elif order == "!status":
            return wire.Answer(int(rest), JSON, b'{"status": %d}' % int(rest), 1)
        elif order == "!error":
            return wire.Answer(400, JSON, b'{"error_code": "BAD_REQUEST"}', 0, wire.FLAG_ERROR_OBJECT)
        elif order == "!fail":
            return wire.Answer(400, JSON, b'{"error_code": "BAD_REQUEST"}', 1, wire.FLAG_MODEL_ERROR)
        elif order == "!big":
            return wire.Answer(200, b"text/plain", b"x" * int(rest), 1)
    return wire.Answer(200, JSON, b'{"predictions": [%b]}' % (body or b'""'), 1)


def pieces(body: bytes) -> Iterator[bytes]:
    """What a stream consists of."""
    order, _, rest = body.decode().partition(" ")
    padding = b"x" * 60_000 if order in {"!flood", "!greedy"} else b""
    for number in itertools.count():
        if Path(rest).exists() if order == "!dribble" else number >= int(rest):
            return
        yield b"data: %d\n\n" % number + padding
        if order == "!dribble":
            time.sleep(0.005)


class Stream(NamedTuple):
    """A stream under way: `credit` is what may be sent of it, `status` what its end will say."""

    pieces: Iterator[bytes]
    credit: int
    status: int


class Peer:
    """One gateway: what it sent, and the streams that it gets, by the number of their frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = wire.FrameReader()
        self.streams: dict[int, Stream] = {}

    def take(self, frame: wire.Frame, options: argparse.Namespace, log: TextIO | None) -> None:
        """Obey one frame."""
        number = frame.batch_id
        if frame.kind in {wire.BATCH, wire.CALL}:
            self.serve(frame, options, log)
        elif frame.kind == wire.CANCEL:
            self.streams.pop(number, None)
        elif frame.kind == wire.CREDIT and number in self.streams:
            self._allow(number, wire.decode_credit(frame.payload))

    def serve(self, frame: wire.Frame, options: argparse.Namespace, log: TextIO | None) -> None:
        """Answer a batch, or begin a stream."""
        started = time.thread_time()
        batch = wire.decode_batch(frame.payload)
        bodies = [bytes(body) for body in batch.bodies]
        if log is not None:
            print(json.dumps([body.decode("latin-1") for body in bodies]), file=log)
        if bodies[0] == b"!garbage":
            self.socket.sendall(b"\x01\x00\x00\x00\xff\xff\xff\xff\xff")
            return
        accept = wire.split_head(batch.heads[0])[2]
        order = bodies[0].split(b" ")[0]
        if b"event-stream" in accept and order in STREAMS:
            self.socket.sendall(wire.encode_stream_head(frame.batch_id, 200, b"text/event-stream"))
            credit = 1 << 40 if order == b"!greedy" else wire.STREAM_WINDOW_BYTES
            self.streams[frame.batch_id] = Stream(pieces(bodies[0]), credit, 500 if order == b"!break" else 0)
            return
        answers = [answer_to(body) for body in bodies]
        busy_s = options.fixed_ms / 1e3 + len(bodies) * options.row_us / 1e6
        if options.burn:
            while time.thread_time() - started < busy_s:
                pass
        elif busy_s:
            time.sleep(busy_s)
        notes = b'{"unmergeable": "for a reason", "mergeable": false}' if b"!unmergeable" in bodies else b""
        timing = wire.Timing(1, int(busy_s * 1e6), 1, 1)
        self.socket.sendall(wire.encode_answers(frame.batch_id, answers, timing, notes))

    def go_on(self) -> bool:
        """Send a piece of each stream that may go on; whether there was any."""
        ready = [number for number, stream in self.streams.items() if stream.credit > 0]
        for number in ready:
            piece = next(self.streams[number].pieces, None)
            if piece is None:
                self.socket.sendall(wire.encode_stream_end(number, self.streams.pop(number).status))
            else:
                self._allow(number, -len(piece))
                self.socket.sendall(wire.encode_stream_chunk(number, piece))
        return bool(ready)

    def _allow(self, number: int, more: int) -> None:
        stream = self.streams[number]
        self.streams[number] = stream._replace(credit=stream.credit + more)


def run(options: argparse.Namespace) -> None:
    """Serve any number of gateways, one frame at a time."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen(16)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    peers: dict[socket.socket, Peer] = {}
    log = Path(options.log).open("a", buffering=1) if options.log else None  # noqa: SIM115
    streaming = False
    while True:
        for ready in select.select([listener, *peers], [], [], 0 if streaming else None)[0]:
            if ready is listener:
                sock, _ = listener.accept()
                peers[sock] = Peer(sock)
                continue
            data = ready.recv(1 << 20)
            if not data:
                del peers[ready]
                ready.close()
                continue
            for frame in peers[ready].reader.feed(data):
                peers[ready].take(frame, options, log)
        streaming = sum(peer.go_on() for peer in peers.values()) > 0


def main() -> int:
    """Parse and run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--fixed-ms", type=float, default=0.0)
    parser.add_argument("--row-us", type=float, default=0.0)
    parser.add_argument("--burn", action="store_true")
    parser.add_argument("--log")
    run(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
