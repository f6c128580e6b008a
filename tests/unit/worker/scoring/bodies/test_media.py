"""The heads of requests: which media type and codings they name, and whether a stream is asked for."""

import json

import pytest

from headrace_worker import wire
from headrace_worker.scoring.bodies import media
from headrace_worker.scoring.errors.refusal import Refusal
from tests.unit.worker.models import ask, load, texts

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


def test_long_headers_are_not_remembered() -> None:
    scorer, _ = load(lambda _data, _params: [1])
    for n in range(20):
        ask(scorer, REQUEST, head=wire.head(b"application/json", b"br," * 1000 + b"%d" % n))
    assert sum(map(len, scorer._heads)) == 0
