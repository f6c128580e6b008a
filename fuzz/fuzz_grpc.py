"""Coverage-guided fuzzing of what reads gRPC: `make fuzz`, or python fuzz/fuzz_grpc.py [libFuzzer options].

What must hold for any bytes: the reader of messages raises nothing but Malformed, no message is larger than allowed,
and the reader of header blocks raises nothing but BadHeaders.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["headrace.gateway.grpc"]):
    from headrace.gateway.grpc import headers, inbox, schema, tensors

MOST_BYTES = 1 << 16


def one(data: bytes) -> None:
    """Take the same bytes for a message, for packed messages and for a header block."""
    try:
        asked = tensors.read_request(data)
        if len(asked.body) > 64 * len(data) + 4096:
            raise AssertionError(f"{len(data)} bytes became {len(asked.body)}")
    except schema.Malformed:
        pass
    for coding in (b"identity", b"gzip"):
        box = inbox.Inbox(MOST_BYTES, coding)
        box.add(data)
        try:
            while (message := box.take()) is not None:
                if len(message) > MOST_BYTES:
                    raise AssertionError(f"a message of {len(message)} bytes")
        except (schema.Malformed, inbox.TooLarge):
            pass
    with contextlib.suppress(headers.BadHeaders):
        headers.HeaderReader(4096).read(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
