"""Headers, content codings and limits: what happens to a request before MLflow sees it."""

import gzip
import json
import random
import zlib
from typing import Any

import pytest

from headrace_worker import wire
from headrace_worker.scoring.bodies import jsonbody, media
from headrace_worker.scoring.bodies.inflate import FIRST_PIECE, MAX_CODINGS, MAX_MEMBERS, inflate
from headrace_worker.scoring.errors.refusal import Refusal
from tests.unit.worker.models import TEXT, ask, error, load, predictions, texts

TYPES = ("text/csv", "application/json", "application/vnd.apache.parquet")
REQUEST = json.dumps(texts("a")).encode()


def read(content_type: bytes | None, coding: bytes = b"", accept: bytes = b"") -> media.Media:
    return media.read_head(wire.head(content_type, coding, accept), TYPES, "CHANGED")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;Charset="UTF-8"',
    ],
)
def test_a_content_type_that_means_json_is_json(content_type: bytes | None) -> None:
    assert read(content_type).kind == media.JSON


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        (b"", "This predictor only supports"),
        (b"text/json", "Got 'text/json'"),
        (b"application/json;", "Unrecognized content type parameters: . CHANGED"),
        (b"application/json; format=x; charset=utf-8", "Unrecognized content type parameters: format. CHANGED"),
        (b"application/json; charset=latin-1; format=x", "only supports UTF-8"),
        (b"\xff\xfe", "This predictor only supports"),
    ],
)
def test_any_other_content_type_is_refused_as_mlflow_refuses_it(content_type: bytes, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(content_type)
    assert caught.value.status == 415
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/event-stream", True),
        (b"application/json, Text/Event-Stream;q=0.9", True),
        (b"text/event-stream; q=0", False),
    ],
)
def test_a_stream_is_given_to_who_asks_for_it_by_name(accept: bytes, wanted: bool) -> None:  # noqa: FBT001
    assert read(None, b"", accept).wants_stream is wanted


def deflate_bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(REQUEST)),
        (b"X-GZIP", gzip.compress(REQUEST[:5]) + gzip.compress(REQUEST[5:]) + b"\0\0"),
        (b"deflate", zlib.compress(REQUEST)),
        (b"deflate", deflate_bare(REQUEST)),
        (b"deflate, gzip", gzip.compress(zlib.compress(REQUEST))),
        (b"identity", REQUEST),
        (b"gzip", REQUEST),
        (b"deflate", REQUEST),
        (b"utf-8", REQUEST),
    ],
)
def test_a_compressed_body_is_unpacked_and_a_plain_one_is_taken_as_it_is(coding: bytes, body: bytes) -> None:
    scorer, _ = load(lambda data, _: list(data["text"]), TEXT)
    (answer,) = ask(scorer, body, head=wire.head(b"application/json", coding))
    assert predictions(answer) == ["a"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(REQUEST)[:-4]),
        (b"gzip", b"\x1f\x8b rubbish"),
        (b"deflate", b"\x00rubbish"),
        (b"gzip", b"\x1f\x8b"),
    ],
)
def test_a_damaged_compressed_body_is_a_400_in_json(coding: bytes, body: bytes) -> None:
    scorer, _ = load(lambda data, _: list(data["text"]), TEXT)
    (answer,) = ask(scorer, body, head=wire.head(b"application/json", coding))
    assert (answer.status, error(answer)["error_code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, deflate_bare])
def test_a_body_that_is_too_large_after_decompression_is_a_413(pack: Any) -> None:
    coding = ("gzip",) if pack is gzip.compress else ("deflate",)
    assert inflate(pack(b"x" * 1000), coding, 1000) == b"x" * 1000
    with pytest.raises(Refusal) as caught:
        inflate(pack(b"x" * 1001), coding, 1000)
    assert caught.value.status == 413


def test_many_small_gzip_members_count_together() -> None:
    with pytest.raises(Refusal) as caught:
        inflate(gzip.compress(b"x" * 100) * 11, ("gzip",), 1000)
    assert caught.value.status == 413


def test_a_gzip_body_of_very_many_members_is_a_400_that_says_so() -> None:
    member = gzip.compress(b"", mtime=0)
    assert inflate(member * MAX_MEMBERS, ("gzip",), 1000) == b""
    with pytest.raises(Refusal, match=f"more than {MAX_MEMBERS} members. Compress it in one piece") as caught:
        inflate(member * (MAX_MEMBERS + 1), ("gzip",), 1000)
    assert caught.value.status == 400


@pytest.mark.parametrize("size", [FIRST_PIECE - 1, 5 * FIRST_PIECE, 3_000_000])
def test_members_of_any_size_come_out_whole_and_in_order(size: int) -> None:
    data = [random.Random(n).randbytes(size // (n + 1)) for n in range(5)]
    body = b"\0".join(gzip.compress(part, mtime=0) for part in data)
    assert inflate(body, ("gzip",), 20_000_000) == b"".join(data)


def test_codings_without_end_are_a_400_that_says_so() -> None:
    assert inflate(b" {}", ("deflate",) * MAX_CODINGS, 1000) == b" {}"
    with pytest.raises(
        Refusal, match=f"5 content codings; at most {MAX_CODINGS} are taken. Compress it once"
    ) as caught:
        inflate(b" {}", ("deflate",) * 5, 1000)
    assert caught.value.status == 400


def test_long_headers_are_not_remembered() -> None:
    scorer, _ = load(lambda _data, _params: [1])
    for n in range(20):
        ask(scorer, REQUEST, head=wire.head(b"application/json", b"br," * 1000 + b"%d" % n))
    assert sum(map(len, scorer._heads)) == 0


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
