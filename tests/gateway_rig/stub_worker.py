"""A worker without a model: speaks the wire over a real socket and does what the bodies tell it.

    python -m tests.gateway_rig.stub_worker --socket PATH [--fixed-ms 1] [--row-us 13] [--burn] [--log PATH]

Each body is answered with ``{"predictions": [body]}``, so that a misrouted answer shows. Bodies that begin with ``!``
are orders: ``!die`` (exit without an answer), ``!hang`` (until killed), ``!wait PATH`` (until that file exists),
``!status N``, ``!error`` (400 with an error object), ``!fail`` (as a model that raises), ``!big N`` (N bytes),
``!stream N`` (N chunks), ``!flood N`` (N of 64 KiB), ``!break N`` (a stream that breaks off after N chunks),
``!dribble PATH`` (stream until the file exists), ``!garbage`` (bytes that are no frame). ``--log`` gets one line a
frame: the bodies as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import TextIO

from headrace_worker import wire

JSON = b"application/json"
STREAMS = {b"!stream", b"!flood", b"!break", b"!dribble"}


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


def stream(peer: socket.socket, reader: wire.FrameReader, number: int, body: bytes) -> list[wire.Frame]:
    """Answer with a stream, one frame a chunk, until it is over or cancelled. Returns what else came meanwhile."""
    order, _, rest = body.decode().partition(" ")
    peer.sendall(wire.encode_stream_head(number, 200, b"text/event-stream"))
    padding = b"x" * 65536 if order == "!flood" else b""
    sent = 0
    others: list[wire.Frame] = []
    while not Path(rest).exists() if order == "!dribble" else sent < int(rest):
        peer.sendall(wire.encode_stream_chunk(number, b"data: %d\n\n" % sent + padding))
        sent += 1
        if order == "!dribble":
            time.sleep(0.005)
        if select.select([peer], [], [], 0)[0]:
            frames = reader.feed(peer.recv(1 << 16))
            others += [frame for frame in frames if frame.kind != wire.CANCEL]
            if any(frame.kind == wire.CANCEL and frame.batch_id == number for frame in frames):
                return others
    peer.sendall(wire.encode_stream_end(number, 500 if order == "!break" else 0))
    return others


def run(options: argparse.Namespace) -> None:
    """Serve any number of gateways, one frame at a time."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen(16)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    peers: dict[socket.socket, wire.FrameReader] = {}
    log = Path(options.log).open("a", buffering=1) if options.log else None  # noqa: SIM115
    while True:
        for ready in select.select([listener, *peers], [], [])[0]:
            if ready is listener:
                peer, _ = listener.accept()
                peers[peer] = wire.FrameReader()
                continue
            data = ready.recv(1 << 20)
            if not data:
                del peers[ready]
                ready.close()
                continue
            todo = peers[ready].feed(data)
            while todo:
                frame = todo.pop(0)
                if frame.kind == wire.BATCH:
                    todo += serve(ready, peers[ready], frame, options, log)


def serve(
    peer: socket.socket, reader: wire.FrameReader, frame: wire.Frame, options: argparse.Namespace, log: TextIO | None
) -> list[wire.Frame]:
    """Answer one frame; returns frames that came meanwhile."""
    started = time.thread_time()
    batch = wire.decode_batch(frame.payload)
    bodies = [bytes(body) for body in batch.bodies]
    if log is not None:
        print(json.dumps([body.decode("latin-1") for body in bodies]), file=log)
    if bodies[0] == b"!garbage":
        peer.sendall(b"\x01\x00\x00\x00\xff\xff\xff\xff\xff")
        return []
    accept = wire.split_head(batch.heads[0])[2]
    if b"event-stream" in accept and bodies[0].split(b" ")[0] in STREAMS:
        return stream(peer, reader, frame.batch_id, bodies[0])
    answers = [answer_to(body) for body in bodies]
    busy_s = options.fixed_ms / 1e3 + len(bodies) * options.row_us / 1e6
    if options.burn:
        while time.thread_time() - started < busy_s:
            pass
    elif busy_s:
        time.sleep(busy_s)
    notes = b'{"unmergeable": "for a reason", "mergeable": false}' if b"!unmergeable" in bodies else b""
    peer.sendall(wire.encode_answers(frame.batch_id, answers, wire.Timing(1, int(busy_s * 1e6), 1, 1), notes))
    return []


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
