"""What feedback says, read strictly: anything that is not meant is refused, with the member that is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.core.protocol.records import Feedback
from headrace.gateway.bodies import Refused
from headrace.gateway.feedback import MOST_BYTES, read
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want
from headrace_worker import wire

TRACE = "0af7651916cd43dd8448eb211c80319c"


def given(body: Any, model: str | None = "m", encoding: bytes = b"") -> Feedback:
    head = RequestHead()
    head.target = Target(Want.FEEDBACK, model)
    head.wire_head = wire.head(b"application/json", encoding)
    return read(head, body if isinstance(body, bytes) else msgspec.json.encode(body))


@pytest.mark.parametrize("value", [True, 1, 0.5, "good", ["a", 1, True], {"a": 0.5, "b": "x"}])
def test_values_of_mlflow_s_types_come_through(value: Any) -> None:
    assert given({"request_id": "r", "value": value}).value == value


def test_what_is_left_out_has_a_meaning() -> None:
    one = given({"trace_id": TRACE, "value": 1})
    assert (one.trace_id, one.name, one.source_type, one.source_id, one.comment) == (
        f"tr-{TRACE}", "feedback", "HUMAN", "default", None,
    )  # fmt: skip
    assert given({"trace_id": f"tr-{TRACE}", "value": 1, "source": "ana"}).source_id == "ana"
    source = {"source_type": "CODE", "source_id": "c"}
    assert given({"request_id": "r", "value": 1, "source": source}).source_type == "CODE"
    assert given({"request_id": "r", "value": 1, "model": "n"}, model=None).model == "n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 60_000, "no feedback"),
        ([], "no feedback"),
        ({"request_id": "r"}, "value"),
        ({"request_id": "r", "value": None}, "value"),
        ({"request_id": "r", "value": {"a": [1]}}, "value"),
        ({"request_id": "r", "value": 1, "rating": 1}, "rating"),
        ({"value": 1}, "either request_id"),
        ({"request_id": "r", "trace_id": TRACE, "value": 1}, "not both"),
        ({"request_id": "", "value": 1}, "request_id"),
        ({"trace_id": "abc", "value": 1}, "trace_id"),
        ({"request_id": "r", "value": 1, "name": ""}, "name"),
        ({"request_id": "r", "value": 1, "source": {"source_type": "CAT"}}, "source_type"),
        ({"request_id": "r", "value": 1, "model": "other"}, "is about 'm'"),
        ({"request_id": "r", "value": "x" * MOST_BYTES}, "bytes"),
    ],
)
def test_what_is_wrong_is_named(body: Any, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        given(body)
    assert caught.value.code == "BAD_REQUEST"


def test_a_shared_port_is_told_which_model() -> None:
    with pytest.raises(Refused, match="model: say which"):
        given({"request_id": "r", "value": 1}, model=None)


def test_a_body_that_is_compressed_is_not_taken() -> None:
    with pytest.raises(Refused, match="Content-Encoding"):
        given({"request_id": "r", "value": 1}, encoding=b"gzip")
