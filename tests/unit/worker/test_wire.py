"""The frames between a gateway and a worker: what goes in comes out, and no length is trusted."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_worker import traces, wire

HEADS = [wire.head(b"application/json"), wire.head(None, b"gzip", b"text/event-stream")]
ANSWERS = [
    wire.Answer(200, b"application/json", b"{}", 3, wire.FLAG_HAZARD),
    wire.Answer(500, b"text/plain", b"", 0, 4),
]


def only(data: bytes) -> wire.Frame:
    (frame,) = wire.FrameReader().feed(data)
    return frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([wire.BATCH, wire.CALL]))
def test_a_batch_comes_out_as_it_went_in(bodies: list[bytes], kind: int) -> None:
    index = bytes(n % 2 for n in range(len(bodies)))
    frame = only(wire.encode_batch(7, HEADS, index, bodies, kind))
    assert (frame.kind, frame.batch_id) == (kind, 7)
    batch = wire.decode_batch(frame.payload)
    assert (batch.heads, batch.head_index, list(map(bytes, batch.bodies))) == (HEADS, index, bodies)


def test_answers_come_out_as_they_went_in() -> None:
    timing = wire.Timing(1, 2, 3, 4, 5)
    frame = only(wire.encode_answers(9, ANSWERS, timing, b'{"hazards": {}}'))
    assert (frame.kind, frame.batch_id) == (wire.ANSWERS, 9)
    assert wire.decode_answers(frame.payload) == wire.Answers(ANSWERS, timing, b'{"hazards": {}}')
    assert wire.decode_answers(only(wire.encode_answers(0, [])).payload).answers == []


def test_a_trace_and_its_spans_come_out_as_they_went_in_and_none_is_too_large() -> None:
    context = bytes(range(24))
    frame = only(traces.encode_trace(3, context))
    assert (frame.kind, frame.batch_id, traces.decode_trace(frame.payload)) == (wire.TRACE, 3, context)
    frame = only(traces.encode_spans(4, b'{"spans": []}'))
    assert (frame.kind, frame.batch_id, traces.decode_spans(frame.payload)) == (wire.SPANS, 4, b'{"spans": []}')
    assert bytes(only(traces.encode_spans(4, bytes(traces.MAX_SPANS_BYTES + 1))).payload) == b"{}"
    with pytest.raises(wire.WireError, match="at most"):
        traces.decode_spans(memoryview(bytes(traces.MAX_SPANS_BYTES + 1)))
    with pytest.raises(wire.WireError, match="must be 24"):
        traces.decode_trace(memoryview(context[1:]))


def test_a_header_that_was_not_sent_differs_from_an_empty_one() -> None:
    assert wire.split_head(wire.head(None)) == (None, b"", b"")
    assert wire.split_head(wire.head(b"")) == (b"", b"", b"")
    assert wire.split_head(HEADS[1]) == (None, b"gzip", b"text/event-stream")
    with pytest.raises(wire.WireError):
        wire.split_head(b"a\nb")


def test_a_stream_comes_out_as_it_went_in() -> None:
    head = only(wire.encode_stream_head(1, 200, b"text/event-stream"))
    assert (head.kind, wire.decode_status(head.payload)) == (wire.STREAM_HEAD, (200, b"text/event-stream"))
    chunk = only(wire.encode_stream_chunk(1, b"data"))
    assert (chunk.kind, bytes(chunk.payload)) == (wire.STREAM_CHUNK, b"data")
    end = only(wire.encode_stream_end(1, 500))
    assert (end.kind, wire.decode_status(end.payload)) == (wire.STREAM_END, (500, b""))
    assert only(wire.encode_cancel(1)) == wire.Frame(wire.CANCEL, 1, memoryview(b""))
    credit = only(wire.encode_credit(1, 65_536))
    assert (credit.kind, wire.decode_credit(credit.payload)) == (wire.CREDIT, 65_536)
    for payload in (b"", b"123", b"12345"):
        with pytest.raises(wire.WireError):
            wire.decode_credit(memoryview(payload))
    with pytest.raises(wire.WireError):
        wire.decode_status(memoryview(b"1"))


@given(st.lists(st.integers(1, 60)))
def test_any_cutting_gives_the_same_frames(cuts: list[int]) -> None:
    sent = [wire.encode_cancel(n) if n % 2 else wire.encode_stream_chunk(n, b"x" * n) for n in range(8)]
    stream = b"".join(sent)
    reader, got, at = wire.FrameReader(), [], 0
    for cut in [*cuts, len(stream)]:
        got += reader.feed(stream[at : at + cut])
        at += cut
    assert [(frame.batch_id, len(frame.payload)) for frame in got] == [(n, 0 if n % 2 else n) for n in range(8)]


@pytest.mark.parametrize("length", [0, 4, 101, 2**32 - 1])
@pytest.mark.parametrize("rest", [b"", b"x" * 20])
def test_an_impossible_length_is_refused_before_anything_is_kept(length: int, rest: bytes) -> None:
    with pytest.raises(wire.WireError, match="at least 5 and at most 100 are possible"):
        wire.FrameReader(100).feed(struct.pack("<I", length) + rest)


@pytest.mark.parametrize(
    ("encoded", "decode"),
    [
        (wire.encode_batch(1, HEADS, b"\0\1", [b"one", b"two"]), wire.decode_batch),
        (wire.encode_answers(1, ANSWERS, notes=b"{}"), wire.decode_answers),
    ],
    ids=["batch", "answers"],
)
def test_a_frame_that_is_cut_or_longer_is_refused(encoded: bytes, decode: Any) -> None:
    payload = bytes(only(encoded).payload)
    decode(memoryview(payload))
    for end in range(len(payload)):
        with pytest.raises(wire.WireError):
            decode(memoryview(payload[:end]))
    with pytest.raises(wire.WireError, match="do not add up"):
        decode(memoryview(payload + b"x"))


def test_what_a_frame_refers_to_must_be_there() -> None:
    with pytest.raises(wire.WireError, match="a head that it does not hold"):
        wire.decode_batch(only(wire.encode_batch(1, HEADS, b"\2", [b""])).payload)
    with pytest.raises(wire.WireError, match="a head that it does not hold"):
        wire.decode_batch(only(wire.encode_batch(1, [], b"\0", [b""])).payload)
    answer = bytearray(only(wire.encode_answers(1, ANSWERS[:1])).payload)
    answer[answer.index(b"application/json") + len(b"application/json")] = 1  # which content type the first has
    with pytest.raises(wire.WireError, match="a content type that it does not hold"):
        wire.decode_answers(memoryview(bytes(answer)))


@pytest.mark.parametrize("status", [0, 199, 600, 65_535])
def test_a_status_that_cannot_be_answered_is_refused(status: int) -> None:
    frame = only(wire.encode_answers(1, [ANSWERS[0], wire.Answer(status, b"", b"")]))
    with pytest.raises(wire.WireError, match="neither may be"):
        wire.decode_answers(frame.payload)


def test_a_head_says_what_protocol_is_spoken() -> None:
    plain = wire.head(b"a/b", b"gzip", b"c")
    for spoken in (wire.Spoken(wire.V2, "a b/\n\u00e9", 0), wire.Spoken(wire.V1, "", None)):
        head = wire.spoken_head(spoken, plain)
        assert wire.spoken(head) == spoken
        assert wire.split_head(head) == wire.split_head(plain)
    assert wire.spoken(plain) is None
    assert wire.spoken(wire.head(b"\1v2 0 m")) is None, "a Content-Type that looks like it"
    with pytest.raises(wire.WireError):
        wire.spoken(b"\1v2\n" + plain)


def test_an_answers_type_says_how_much_of_it_is_json() -> None:
    assert wire.split_type(wire.binary_type(12)) == (b"application/octet-stream", b"12")
    assert wire.split_type(b"application/json") == (b"application/json", b"")
