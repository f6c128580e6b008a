"""Coverage-guided fuzzing of what reads the data port: `make fuzz`, or python fuzz/fuzz_port.py [libFuzzer options].

What must hold for any bytes: nothing raises, a refusal is the last word, no body is larger than allowed, and cutting
the same bytes differently changes nothing.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["headrace.gateway.http.parsing", "headrace.gateway.http.routing"]):
    from headrace.core.protocol.messages import Limits
    from headrace.gateway.http.heads import RequestHead
    from headrace.gateway.http.parsing import RequestReader
    from headrace.gateway.http.targets import Want

LIMITS = Limits(max_header_bytes=512, max_body_bytes=256)


class Heard:
    """What a reader said, as comparable data."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.refused = False

    def on_head(self, head: RequestHead) -> bool:
        """Take a head that waits for 100 Continue."""
        self.said.append(("head", head.target))
        return True

    def takes_body(self, head: RequestHead) -> bool:
        """Take some bodies and leave others."""
        return head.target.want == Want.INVOKE

    def on_request(self, head: RequestHead, body: bytes | None) -> None:
        """Take a whole request."""
        if self.refused:
            raise AssertionError("a request after the refusal")
        if body is not None and len(body) > LIMITS.max_body_bytes:
            raise AssertionError(f"a body of {len(body)} bytes")
        self.said.append(("request", head.target, head.wire_head, head.keep_alive, head.problem, body))

    def on_refused(self, code: str, message: str, protocol: str = "") -> None:  # noqa: ARG002 - the words may depend on the cut
        """Take the last word."""
        if self.refused:
            raise AssertionError("refused twice")
        self.refused = True


def read(pieces: list[bytes]) -> Heard:
    """Feed a fresh reader."""
    heard = Heard()
    reader = RequestReader(heard, LIMITS, "topic")
    for piece in pieces:
        reader.feed(piece)
    return heard


def one_input(data: bytes) -> None:
    """Read the same bytes whole and in pieces of the size that their first byte says."""
    if not data:
        return
    size, stream = data[0] + 1, data[1:]
    whole = read([stream])
    cut = read([stream[i : i + size] for i in range(0, len(stream), size)])
    if whole.refused == cut.refused and whole.said != cut.said:
        raise AssertionError(f"cut every {size} bytes: {cut.said} instead of {whole.said}")
    shorter, longer = sorted((whole.said, cut.said), key=len)
    if longer[: len(shorter)] != shorter:
        raise AssertionError(f"cut every {size} bytes: {cut.said} instead of {whole.said}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
