"""The bounds of a JSON body: how deep it may nest, and how many digits an integer may have."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_worker.scoring.bodies import jsonbody
from headrace_worker.scoring.errors.refusal import Refusal
from tests.unit.worker.models import ask, error, load


def parse(body: bytes, nesting: int = 10, digits: int = 50) -> Any:
    return jsonbody.parse(body, decode_first=False, max_nesting=nesting, max_integer_digits=digits)


@pytest.mark.parametrize("body", [b"[" * 10 + b"]" * 10, b'{"a":' * 10 + b"1" + b"}" * 10, b'["' + b"[" * 99 + b'"]'])
def test_nesting_up_to_the_limit_is_parsed(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 11 + b"]" * 11,
        b"[" * 100_000,
        b'[{"a":' * 6 + b"1" + b"}]" * 6,
        b'{"a":"\\"[","b":' + b"[" * 11,
        b'"\\"' * 9 + b"[" * 99,
    ],
)
def test_nesting_beyond_the_limit_is_a_400(body: bytes) -> None:
    with pytest.raises((Refusal, jsonbody.NotJson)) as caught:
        parse(body)
    assert isinstance(caught.value, Refusal) or body.startswith(b'"')


def test_a_wide_body_is_not_a_deep_one() -> None:
    body = json.dumps([[[i]] for i in range(100)]).encode()
    assert parse(body) == json.loads(body)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, (list, dict))) + max(map(depth, inner), default=0)


BRACKETS = st.text('[]{}, "\\\\', max_size=12)


@given(
    st.recursive(
        st.integers() | BRACKETS, lambda v: st.lists(v, max_size=4) | st.dictionaries(BRACKETS, v, max_size=3)
    ),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_the_depth_of_a_body_is_what_its_brackets_say(value: Any, separators: tuple[str, str]) -> None:
    body = json.dumps(value, separators=separators).encode()
    assert parse(body, nesting=depth(value)) == value
    if depth(value):
        with pytest.raises(Refusal):
            parse(body, nesting=depth(value) - 1)


@pytest.mark.parametrize(
    "body", [b"[" + b"9" * 50 + b"]", b"[0." + b"9" * 99 + b"]", b'["' + b"9" * 99 + b'"]', b"[-" + b"1" * 50 + b"]"]
)
def test_long_numbers_that_are_no_integers_are_parsed(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@pytest.mark.parametrize(
    "body", [b"[" + b"9" * 51 + b"]", b"[-" + b"1" * 51 + b"]", b'{"a":1.5,"b":' + b"1" * 60 + b"}"]
)
def test_an_integer_of_too_many_digits_is_a_400(body: bytes) -> None:
    with pytest.raises(Refusal, match="more than 50 digits is not accepted") as caught:
        parse(body)
    assert caught.value.status == 400


@pytest.mark.parametrize("before", range(60))
def test_too_many_digits_are_found_wherever_they_stand(before: int) -> None:
    assert parse(b"[" + b" " * before + b"9" * 50 + b",1]")[0] == int("9" * 50)
    with pytest.raises(Refusal):
        parse(b"[" + b" " * before + b"9" * 51 + b",1]")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"inputs": [' + b"1" * 5000 + b"]}", b'{"inputs": ' + b"[" * 700 + b"1" + b"]" * 700 + b"}"],
)
def test_a_body_that_crashes_a_parser_is_a_400_in_json(body: bytes) -> None:
    scorer, _ = load(lambda _data, _params: [1])
    (answer,) = ask(scorer, body)
    assert (answer.status, error(answer)["error_code"]) == (400, "BAD_REQUEST")


def test_looking_for_limits_takes_linear_time() -> None:
    # Each of these made a pattern that backtracks take minutes.
    for body in (b'"\\' * 500_000, b'\\"' * 500_000, b'"' * 1_000_001, b"9-" * 500_000, b"[" * 5 + b"1e" * 500_000):
        with pytest.raises((Refusal, jsonbody.NotJson)):
            parse(b"[" * 11 + body)
