"""Server-sent events of models with predict_stream."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headrace_worker import wire
from headrace_worker.scoring import ToldInStream
from tests.unit.worker.models import TEXT, error, load

pytestmark = pytest.mark.filterwarnings("ignore")
HEAD = wire.head(b"application/json", b"", b"text/event-stream")
BODY = memoryview(b'{"inputs": ["a"]}')


def events(stream: Iterator[bytes] | wire.Answer) -> list[bytes]:
    assert not isinstance(stream, wire.Answer), stream
    return list(stream)


def until_told(stream: Iterator[bytes] | wire.Answer) -> list[bytes]:
    """The events of a stream that tells of a failure at its end."""
    assert not isinstance(stream, wire.Answer), stream
    found: list[bytes] = []
    try:
        for event in stream:
            found.append(event)  # noqa: PERF402 - what came before it is raised is wanted, too
    except ToldInStream:
        return found
    raise AssertionError(f"it ended well: {found}")


def test_each_chunk_is_an_event_and_the_end_is_said() -> None:
    def chunks(_data: Any, _params: Any) -> Any:
        yield {"n": 1}
        yield "two\nlines"

    scorer, _ = load(chunks, streamable=True)
    assert scorer.wants_stream(HEAD, BODY)
    assert not scorer.wants_stream(wire.head(b"application/json"), BODY)
    assert events(scorer.stream(HEAD, BODY)) == [b'data: {"n": 1}\n\n', b'data: "two\\nlines"\n\n', b"data: [DONE]\n\n"]


def test_a_model_without_predict_stream_is_asked_for_no_stream() -> None:
    scorer, _ = load(lambda _data, _params: [1])
    assert not scorer.wants_stream(HEAD, BODY)
    assert scorer.facts()["streams"] is False


@pytest.mark.parametrize("raised", [ValueError("detail"), SystemExit(1), MemoryError()])
@pytest.mark.parametrize("errors", ["mlflow", "strict"])
def test_a_stream_that_breaks_off_ends_with_an_error_event(raised: BaseException, errors: str) -> None:
    def chunks(_data: Any, _params: Any) -> Any:
        yield 1
        raise raised

    scorer, _ = load(chunks, streamable=True, errors=errors)
    first, last = until_told(scorer.stream(HEAD, BODY))
    assert first == b"data: 1\n\n"
    kind, data = last.decode().strip().split("\n")
    assert kind == "event: error"
    told = json.loads(data.removeprefix("data: "))
    assert told["error_code"] == "MODEL_ERROR"
    assert (type(raised).__name__ in told["message"]) == (errors == "mlflow")


@pytest.mark.parametrize("errors", ["mlflow", "strict"])
def test_what_does_not_fit_the_signature_is_answered_before_a_stream_begins(errors: str) -> None:
    called = []

    def chunks(data: Any, _params: Any) -> Any:
        called.append(data)
        yield 1

    scorer, _ = load(chunks, TEXT, streamable=True, errors=errors)
    answer = scorer.stream(HEAD, memoryview(b'{"inputs": {"other": ["a"]}}'))
    assert isinstance(answer, wire.Answer)
    assert (answer.status, error(answer)["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    plain = scorer.score([wire.head(b"application/json")], b"\0", [memoryview(b'{"inputs": {"other": ["a"]}}')])[0][0]
    assert answer == plain
    assert called == []
    assert events(scorer.stream(HEAD, BODY))[-1] == b"data: [DONE]\n\n"


def test_closing_a_stream_closes_the_models_generator() -> None:
    closed = []

    def chunks(_data: Any, _params: Any) -> Any:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    scorer, _ = load(chunks, streamable=True)
    stream: Any = scorer.stream(HEAD, BODY)
    next(stream)
    stream.close()
    assert closed == [True]


@pytest.mark.parametrize("body", [b"{", b"[" * 1000, b'{"inputs": ["a"], "instances": []}'])
def test_a_stream_of_a_bad_request_is_an_ordinary_error(body: bytes) -> None:
    scorer, _ = load(lambda _data, _params: iter(()), TEXT, streamable=True)
    answer = scorer.stream(HEAD, memoryview(body))
    assert isinstance(answer, wire.Answer)
    assert (answer.status, error(answer)["error_code"]) == (400, "BAD_REQUEST")
