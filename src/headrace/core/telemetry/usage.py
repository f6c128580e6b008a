"""How many tokens a streamed event says that it has cost, as models that stand before language models say it.

Pure.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_MOST_BYTES = 65_536
_BEGIN, _END = b"data: ", b"\n\n"


class _Usage(msgspec.Struct):
    input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None
    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None


class _Holder(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    """OpenAI's chat completions have it at the top, its responses, and MLflow's, in `response`."""

    usage: _Usage | None = None
    response: _Holder | None = None


_decoder = msgspec.json.Decoder(_Event)


def tokens(event: bytes) -> tuple[int, int]:
    """(tokens of the input, tokens of the output) that one whole server-sent event tells of; (0, 0): of none."""
    if b'"usage"' not in event or len(event) > _MOST_BYTES or not event.startswith(_BEGIN):
        return 0, 0
    try:
        said = _decoder.decode(memoryview(event)[len(_BEGIN) : -len(_END)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0, 0
    usage = said.usage or (said.response.usage if said.response is not None else None)
    if usage is None:
        return 0, 0
    return usage.input_tokens or usage.prompt_tokens or 0, usage.output_tokens or usage.completion_tokens or 0
