"""Entries of the shared cache: what goes in comes out, and anything else is a miss."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.cache_entries import decode, encode, key
from headrace_worker.wire import Answer


@given(st.binary(max_size=200), st.binary(max_size=500), st.integers(0, 2**32 - 1))
def test_an_answer_comes_back_as_it_was(content_type: bytes, body: bytes, rows: int) -> None:
    answer = Answer(200, content_type, body, rows)
    assert decode(encode(answer)) == answer


@given(st.binary(max_size=60), st.integers(0, 80))
def test_what_is_cut_or_not_ours_is_a_miss(odd: bytes, length: int) -> None:
    whole = encode(Answer(200, b"application/json", b'{"predictions": [1]}', 1))
    assert decode(odd) is None or odd.startswith(b"HR\x01")
    if length < len(whole):
        assert decode(whole[:length]) is None
    assert decode(whole + b"x") is None
    assert decode(encode(Answer(400, b"a", b"b"))) is None


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_two_requests_have_one_key_only_if_they_are_the_same(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    assert (key("i", a, b) == key("i", c, d)) == ((a, b) == (c, d))
    assert key("i", a, b) != key("j", a, b)
