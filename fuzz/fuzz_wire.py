"""Coverage-guided fuzzing of the framing between gateway and worker: python fuzz/fuzz_wire.py [libFuzzer options]."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["headrace_worker.wire"]):
    from headrace_worker import wire


def one_input(data: bytes) -> None:
    """No bytes may raise anything but WireError, nor decode to more than was there."""
    reader = wire.FrameReader(max_frame_bytes=1 << 16)
    try:
        for frame in reader.feed(data):
            for decode in (wire.decode_batch, wire.decode_answers, wire.decode_status, wire.decode_credit):
                try:
                    decode(frame.payload)
                except wire.WireError:
                    continue
    except wire.WireError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
