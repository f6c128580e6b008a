"""A gateway sends a record as a plain tuple: its order is that of the fields."""

from __future__ import annotations

import msgspec
import pytest

from headrace.core.protocol import framing
from headrace.core.protocol.records import (
    ACCESS,
    LOGS,
    MLFLOW,
    PREDICTION,
    SLOW,
    TRACE,
    AskSamples,
    Batch,
    Finish,
    FromRecorder,
    Open,
    PredictionLog,
    Record,
    Samples,
    Told,
    ToRecorder,
    Trace,
)

VALUES = (
    *(ACCESS | TRACE, 1764500000.5, b"id", b"POST", b"/invocations", "own", "m", "m/3", 200, "", False, 2, 10, 20),
    *(0.001, 0.002, 0.004, 7, 3, 11, 12, 13, b"hit", b"10.0.0.1", True, b"host", b"head", b"{}", None),
)


def test_a_tuple_in_the_order_of_the_fields_is_a_record() -> None:
    assert len(VALUES) + 1 == len(Record.__struct_fields__)
    packed = msgspec.msgpack.encode(({"access": 2}, [(*VALUES, (b"t" * 16, b"s" * 8)), (*VALUES, None)]))
    batch = msgspec.msgpack.decode(packed, type=Batch)
    traced, bare = batch.records
    assert batch.lost == {"access": 2}
    assert traced.trace == Trace(b"t" * 16, b"s" * 8)
    assert bare.trace is None
    assert (bare.wanted_by, bare.request_id, bare.model, bare.version, bare.status) == (9, b"id", "m", "m/3", 200)
    assert (bare.rows, bare.bytes_in, bare.bytes_out) == (2, 10, 20)
    assert (bare.queue_s, bare.worker_s, bare.total_s) == (0.001, 0.002, 0.004)
    assert (bare.frame, bare.batch_requests, bare.parse_us, bare.predict_us, bare.serialise_us) == (7, 3, 11, 12, 13)
    assert (bare.cache, bare.client, bare.http10, bare.head) == (b"hit", b"10.0.0.1", True, b"head")
    assert (bare.request, bare.answer) == (b"{}", None)


@pytest.mark.parametrize("wrong", [(*VALUES,), (*VALUES[:-1], "text", None), ("1", *VALUES[1:], None)])
def test_what_is_no_record_is_refused(wrong: tuple[object, ...]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(wrong), type=Record)


def test_who_wants_a_record_is_a_bit_each() -> None:
    bits = [ACCESS, SLOW, PREDICTION, TRACE, MLFLOW]
    assert sum(bits) == 31
    assert all(bit & (bit - 1) == 0 for bit in bits)
    assert set(LOGS) < set(bits)
    assert SLOW not in LOGS, "the access log counts it"


def test_what_the_supervisor_and_the_recorder_say_comes_out_as_it_went_in() -> None:
    log = PredictionLog(directory="logs", format="parquet", keep=None, redact=("user.*",))
    to = [Open(socket="s", log_fd=2, text=False, predictions={"*": log}, traces=True), AskSamples(1), Finish()]
    told = [Samples(1, [("headrace_records_total", (("log", "access"),), 1.0)]), Told("warning", "full", {"bytes": 1})]
    for kind, messages in ((ToRecorder, to), (FromRecorder, told)):
        decoder: framing.Decoder[object] = framing.Decoder(kind)
        assert decoder.feed(b"".join(map(framing.encode, messages))) == messages
