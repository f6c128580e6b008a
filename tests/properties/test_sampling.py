"""Sampling by an id and trace context: alike everywhere, even for ids that count, and right about what W3C says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from headrace.core.serving.sampling import point
from headrace.core.serving.tracing import parse_traceparent, ratio_bound, usable_state

IDS = st.binary(min_size=1, max_size=40)


@given(IDS)
def test_a_point_lies_from_0_to_below_1_and_stays(request_id: bytes) -> None:
    assert 0.0 <= point(request_id) < 1.0
    assert point(request_id) == point(bytes(request_id))


@given(st.binary(min_size=5, max_size=5), st.integers(0, 1 << 24), st.sampled_from([0.01, 0.1, 0.5, 0.9]))
def test_ids_that_count_are_sampled_evenly(prefix: bytes, first: int, share: float) -> None:
    n = 4000
    sampled = sum(point(b"%b-%x" % (prefix.hex().encode(), i)) < share for i in range(first, first + n))
    assert abs(sampled / n - share) < 0.05


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(0, 255))
def test_a_traceparent_is_read(trace_id: bytes, span_id: bytes, flags: int) -> None:
    found = parse_traceparent(f"00-{trace_id.hex()}-{span_id.hex()}-{flags:02x}".encode())
    if any(trace_id) and any(span_id):
        assert found == (trace_id, span_id, bool(flags & 1))
    else:
        assert found is None


@given(st.binary(max_size=80))
def test_no_bytes_break_it(value: bytes) -> None:
    found = parse_traceparent(value)
    assert found is None or (len(found.trace_id), len(found.span_id)) == (16, 8)


def test_versions_of_traceparent() -> None:
    ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
    assert parse_traceparent(None) is None
    assert parse_traceparent(f"ff-{ids}-01".encode()) is None
    assert parse_traceparent(f"00-{ids}-01-more".encode()) is None
    assert parse_traceparent(f"00-{ids}-01 ".encode()) is None
    assert parse_traceparent(f"00-{ids.upper()}-01".encode()) is None
    later = parse_traceparent(f"cc-{ids}-01-more".encode())
    assert later is not None
    assert later.sampled
    assert usable_state(b"a=1") == b"a=1"
    assert usable_state(b"x" * 513) == b""


def test_the_ratio_is_opentelemetrys() -> None:
    assert [ratio_bound(ratio) for ratio in (0.0, 0.5, 1.0)] == [0, 1 << 63, 1 << 64]
    for ratio in (0.0, 0.01, 0.25, 1.0):
        assert ratio_bound(ratio) == TraceIdRatioBased(ratio).bound
