"""Header blocks: another implementation's encoder is the judge."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.grpc.headers import BadHeaders, HeaderReader, literal

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(str.encode)
fields = st.lists(st.tuples(names, st.binary(max_size=40)), max_size=8, unique_by=lambda one: one[0])


@given(st.lists(st.tuples(fields, st.booleans()), max_size=6))
def test_blocks_are_read_as_they_were_meant(blocks: list[tuple[list[tuple[bytes, bytes]], bool]]) -> None:
    encoder, reader = Encoder(), HeaderReader(100_000)
    for block, huffman in blocks:
        for _ in range(2):  # the second one is all of the table
            assert reader.read(encoder.encode(block, huffman=huffman)) == dict(block)


@given(fields)
def test_fields_that_are_written_are_read_by_others(block: list[tuple[bytes, bytes]]) -> None:
    told = b"".join(literal(name, value) for name, value in block)
    assert [tuple(one) for one in Decoder().decode(told, raw=True)] == block


def test_a_long_field_is_written_with_its_length() -> None:
    ((name, value),) = Decoder().decode(literal(b"x", b"y" * 5000), raw=True)
    assert (name, value) == (b"x", b"y" * 5000)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_break_the_reader(blocks: list[bytes]) -> None:
    reader = HeaderReader(500)
    for block in blocks:
        try:
            reader.read(block)
        except BadHeaders:
            return


def test_a_table_does_not_grow_and_lists_that_are_too_long_are_not_kept() -> None:
    reader = HeaderReader(500)
    assert reader.read(Encoder().encode([(b"x", b"y" * 600)])) is None
    with pytest.raises(BadHeaders):
        reader.read(b"\x3f\xe2\x1f")  # a table of 4097 bytes
    with pytest.raises(BadHeaders):
        reader.read(b"\xff" + b"\x80" * 10_000)


def test_fields_of_one_name_are_joined() -> None:
    assert HeaderReader(500).read(literal(b"a", b"1") + literal(b"a", b"2")) == {b"a": b"1, 2"}
