"""What the prediction log keeps of a request and its answer, and what it does not."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from headrace.recorder.entries import MAX_NESTING, Entry, entry
from headrace_worker import wire
from tests.unit.recorder.records import record

NONE: frozenset[str] = frozenset()
JSON = b'{"inputs": [{"name": "Ann", "x": 1}]}'


def made(fields: frozenset[str] = NONE, most_bytes: int = 10_000, **changes: Any) -> Entry:
    return entry(record(**changes), fields, most_bytes)


def test_bodies_are_kept_as_data() -> None:
    one = made(request=JSON, answer=b'{"predictions": [1]}', cache=b"hit")
    assert (one.request, one.answer) == ({"inputs": [{"name": "Ann", "x": 1}]}, {"predictions": [1]})
    assert (one.omitted, one.cache, one.content_type, one.latency_s) == ("", "hit", "application/json", 0.01)
    assert (one.time, one.request_id, one.model, one.version) == (
        "2023-11-14T22:13:20.000000Z",
        "r-0",
        "topic",
        "topic/1",
    )


def test_what_is_no_json_is_kept_as_text() -> None:
    one = made(request=b"a,b\n1,\xff\n", head=wire.head(b"text/csv"), answer=b"oops")
    assert (one.request, one.answer, one.omitted) == ("a,b\n1,\\xff\n", "oops", "")


def test_what_was_too_large_says_so() -> None:
    one = made(request=None, answer=None)
    assert (one.request, one.answer, one.omitted) == (None, None, "request: too large; answer: too large")


@pytest.mark.parametrize(("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_a_compressed_request_is_kept_as_what_it_holds(coding: bytes, pack: Any) -> None:
    head = wire.head(b"application/json", coding)
    assert made(request=pack(JSON), head=head).request == {"inputs": [{"name": "Ann", "x": 1}]}
    assert made(request=pack(JSON), head=head, most_bytes=len(JSON)).omitted == ""
    large = made(request=pack(JSON), head=head, most_bytes=len(JSON) - 1)
    assert (large.request, large.omitted) == (None, "request: too large")
    cut = made(request=pack(JSON)[:-6], head=head)
    assert (cut.request, cut.omitted) == (None, "request: compressed, and cut off")
    assert made(request=b"rubbish", head=head).omitted.startswith("request: Error -3")


def test_the_values_of_fields_are_left_out() -> None:
    one = made(frozenset({"name"}), request=JSON, answer=b'{"predictions": [{"name": "Ann"}]}')
    assert "Ann" not in repr(one)
    assert one.request["inputs"][0]["x"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"request": b"name\nAnn\n", "head": wire.head(b"text/csv")},
        {"request": b'"Ann"', "head": wire.head(b"text/csv")},  # a line of CSV that is JSON, too
        {"request": b'"Ann"', "head": wire.head(None)},
        {"request": b'{"name": Ann}'},
        {"answer": b"Ann is not known", "request": b"{}"},
        {"answer": b'{"error_code": "BAD_REQUEST", "message": "Ann is no number"}', "request": b"{}", "status": 400},
    ],
    ids=["csv", "csv as json", "no type", "broken json", "text as answer", "error"],
)
def test_what_cannot_be_redacted_is_not_kept(changes: dict[str, Any]) -> None:
    assert "Ann" not in repr(made(frozenset({"name"}), **changes))
    assert "Ann" in repr(made(**changes))


def test_an_error_keeps_its_code_where_something_is_redacted() -> None:
    answer = b'{"error_code": "BAD_REQUEST", "message": "Ann"}'
    assert made(frozenset({"name"}), answer=answer, status=400).answer == {"error_code": "BAD_REQUEST"}


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 100_000])
def test_what_is_nested_too_deeply_to_be_read_again_is_not_kept(depth: int) -> None:
    one = made(request=b"[" * depth + b"]" * depth, answer=b'{"a":' * depth + b"1" + b"}" * depth)
    assert (one.request, one.answer) == (None, None)
    assert one.omitted == "request: nested too deeply; answer: nested too deeply"
    wide = b"[" + b",".join([b"[1]"] * (MAX_NESTING + 5)) + b"]"
    assert made(request=wide).omitted == "", "many brackets are not deep ones"
    assert made(request=b"[" * MAX_NESTING + b"]" * MAX_NESTING).omitted == ""
