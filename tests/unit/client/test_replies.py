"""Which error an answer means, and what it tells."""

from __future__ import annotations

import json
import pickle

import pytest

from headrace.client import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelError,
    Options,
    Overloaded,
    PartialFailure,
    RowsFailed,
    Unavailable,
    connect,
)
from headrace.client.replies import MODEL_FAILED, Failure, Reply


def error(status: int, body: bytes = b"", **headers: str) -> ClientError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Failure.of_reply(Reply(status, named, body), 0.0).error(tries=1, address="http://a")


def told(code: str, message: str = "why") -> bytes:
    return json.dumps({"error_code": code, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (302, b"", BadRequest),
        (400, told("INVALID_PARAMETER_VALUE"), BadRequest),
        (400, told("BAD_REQUEST", f"{MODEL_FAILED}. Verify"), ModelError),
        (401, b"", BadRequest),
        (404, b'{"detail":"Not Found"}', BadRequest),
        (408, told("REQUEST_TIMEOUT"), Unavailable),
        (413, told("BODY_TOO_LARGE"), BadRequest),
        (429, b"", Overloaded),
        (500, b"Internal Server Error", ModelError),
        (500, told("WORKER_DIED"), ModelError),
        (502, b"<html>", Unavailable),
        (503, told("OVERLOADED"), Overloaded),
        (503, told("TEMPORARILY_UNAVAILABLE"), Unavailable),
        (504, b"Request processing time exceeded limit", DeadlineExceeded),
    ],
)
def test_which_class_an_answer_means(status: int, body: bytes, kind: type[ClientError]) -> None:
    found = error(status, body)
    assert type(found) is kind
    assert found.status == status


def test_what_an_error_tells() -> None:
    found = error(503, told("OVERLOADED", "too much waits"), retry_after="7", x_request_id="r-1")
    assert (found.code, found.message, found.request_id, found.retry_after_s) == (
        "OVERLOADED",
        "too much waits",
        "r-1",
        7,
    )
    assert str(found) == "too much waits (HTTP 503, OVERLOADED, request r-1, 1 try, at http://a)"
    assert error(404, b'{"detail":"Not Found"}').message == "Not Found"
    assert error(500, b"  Internal\n Server Error").message == "the server answered 500: Internal Server Error"
    assert "/there" in error(301, location="/there").message
    assert error(500, b"\xff[" * 10_000).message


def test_a_proxys_page_is_told_as_text() -> None:
    page = b"<html><head><style>a { b }</style><title>502 Bad Gateway</title></head><body>nginx<br/></body></html>"
    failure = Failure.of_reply(Reply(502, {"content-type": "text/html; charset=utf-8"}, page), 0)
    assert failure.message == "the server answered 502: 502 Bad Gateway nginx"


def test_a_partial_failure_can_be_sent_to_another_process() -> None:
    failure = PartialFailure((RowsFailed(2, 4, error(500)), RowsFailed(8, 9, error(503))), [1, 2, None, None], 9)
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own
    assert str(copy) == str(failure)
    assert str(copy).startswith("3 of 9 rows were not answered (rows 2 to 3, 8)")
    assert (copy.predictions, [f.start for f in copy.failures]) == ([1, 2, None, None], [2, 8])


@pytest.mark.parametrize(
    "wrong", [{"deadline_s": 0}, {"parallel": 0}, {"max_rows": -1}, {"max_tries": 0}, {"back_off_s": 9}, {"retries": 3}]
)
def test_an_option_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadRequest):
        connect("http://localhost:1", **wrong)  # type: ignore[arg-type]


def test_a_call_adds_its_headers_and_replaces_the_rest() -> None:
    options = Options(headers={"a": "1", "b": "1"}, deadline_s=5).but({"headers": {"b": "2"}, "deadline_s": None})
    assert (options.headers, options.deadline_s) == ({"a": "1", "b": "2"}, None)
    assert Options(hedge=True, idempotent=False).hedge_policy is None


@pytest.mark.parametrize("address", ["http://", "models:/", "", "/no/such/directory", "models:/a"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadRequest):
        connect(address)
