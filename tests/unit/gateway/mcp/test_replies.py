"""What an agent reads of a model's answer, whatever that looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.gateway.mcp import replies
from headrace.gateway.mcp.requests import Message, Params

MESSAGE = Message("tools/call", 1, Params(), modern=False)


def result(told: bytes) -> dict[str, Any]:
    return dict(json.loads(told)["result"])


@pytest.mark.parametrize(
    ("body", "structured"),
    [
        (b'{"predictions": [1]}', {"predictions": [1]}),
        (b' \n{"a": 1}', {"a": 1}),
        (b"[1, 2]", {"result": [1, 2]}),
        (b'"x"', {"result": "x"}),
        (b'{"predictions": [NaN]}', None),
        (b"a text", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_the_answer_is_there_as_text_and_where_it_is_json_as_that(body: bytes, structured: Any) -> None:
    told = result(replies.called(MESSAGE, body))
    assert told.get("structuredContent") == structured
    assert told["content"] == [{"type": "text", "text": body.decode("utf-8", "replace")}]
    assert told["isError"] is False


def test_an_answer_that_is_too_large_says_what_to_do() -> None:
    told = result(replies.called(MESSAGE, b"[" + b" " * replies.MOST_BYTES + b"]"))
    assert told["isError"] is True
    assert "fewer rows" in told["content"][0]["text"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error_code": "BAD_REQUEST", "message": "no"}', "no"),
        (b'{"error": {"message": "no", "code": null}}', "no"),
        (b'{"error": "no"}', '{"error": "no"}'),
        (b"no", "no"),
        (b"\xff", "\ufffd"),
        (b"x" * 10_000, "x" * 4_000),
    ],
)
def test_of_an_error_its_message_is_told(body: bytes, text: str) -> None:
    assert result(replies.failed(MESSAGE, body)) == {"content": [{"type": "text", "text": text}], "isError": True}
