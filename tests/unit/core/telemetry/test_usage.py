"""What streamed events say of tokens."""

from __future__ import annotations

import pytest

from headrace.core.telemetry.usage import tokens


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (
            b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\n',
            (3, 5),
        ),
        (
            b'data: {"type": "response.completed", "response": {"usage": {"input_tokens": 2, "output_tokens": 7}}}\n\n',
            (2, 7),
        ),
        (b'data: {"choices": [], "usage": null}\n\n', (0, 0)),
        (b'data: {"usage": {"prompt_tokens": -3}}\n\n', (0, 0)),
        (b'data: {"usage": "much"}\n\n', (0, 0)),
        (b'data: "usage"\n\n', (0, 0)),
        (b'data: {"usage": {"prompt_tok\n\n', (0, 0)),
        (b'data: {"usage": ' + b"[" * 5000 + b"\n\n", (0, 0)),
        (b'event: error\ndata: {"usage": {"prompt_tokens": 3}}\n\n', (0, 0)),
        (b'{"usage": {"prompt_tokens": 3}}', (0, 0)),
        (b"data: [DONE]\n\n", (0, 0)),
        (b"", (0, 0)),
    ],
)
def test_tokens_are_counted_where_an_event_tells_of_them(event: bytes, found: tuple[int, int]) -> None:
    assert tokens(event) == found
