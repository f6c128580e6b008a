"""Messages survive any cutting of the byte stream."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.protocol import framing
from headrace.core.protocol.messages import Applied, Drained, FromGateway


@given(st.lists(st.integers(0, 2**40)), st.lists(st.integers(1, 50)))
def test_any_cutting_gives_the_same_messages(generations: list[int], cuts: list[int]) -> None:
    messages: list[FromGateway] = [Applied(g) if g % 2 else Drained(str(g)) for g in generations]
    stream = b"".join(framing.encode(m) for m in messages)
    decoder: framing.Decoder[FromGateway] = framing.Decoder(FromGateway)
    got: list[FromGateway] = []
    at = 0
    for cut in [*cuts, len(stream)]:
        got += decoder.feed(stream[at : at + cut])
        at += cut
    assert got == messages


NOT_UTF8 = framing.encode({"type": "Drained", "pool": "aaaa"}).replace(b"aaaa", b"\xff\xfe\xff\xfe")
DEEP = struct.pack("<I", 100_001) + b"\x91" * 100_000 + b"\xc0"


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x01\x00\x00\x00\xc1", framing.encode({"type": "Nonsense"}), NOT_UTF8, DEEP],
    ids=["length", "code", "kind", "text", "depth"],
)
def test_nonsense_is_refused(data: bytes) -> None:
    decoder: framing.Decoder[FromGateway] = framing.Decoder(FromGateway)
    with pytest.raises(framing.FramingError):
        decoder.feed(data)
