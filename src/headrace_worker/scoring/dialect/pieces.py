"""What the chunks of a model's stream say, whichever kind of conversation they are of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from headrace_worker.scoring.dialect import replies
from headrace_worker.scoring.dialect.replies import Odd

TEXT, CALL, CALL_PART, ANSWERED, FINISH, USAGE = "text", "call", "call_part", "answered", "finish", "usage"


class Piece(NamedTuple):
    """TEXT: so much more of the text. CALL: a whole call of a tool. CALL_PART: more of one, as a chat streams it.

    ANSWERED: the model has called the tool itself, `value` is the call's id. FINISH: why it ends. USAGE: tokens.
    """

    kind: str
    value: Any


class Failed(Exception):
    """The model says that it has failed; the message is its own."""


class Chunks:
    """Reads one stream's chunks."""

    def __init__(self) -> None:
        self._streamed: set[Any] = set()
        self._said = False

    def read(self, raw: Any) -> Iterator[Piece]:
        """What one chunk says; raises Odd for what is no chunk of a conversation, and Failed."""
        raw = raw[0] if type(raw) is list and len(raw) == 1 else raw
        if type(raw) is dict and type(raw.get("choices")) is list:
            yield from _of_chat(raw)
        elif type(raw) is dict and type(raw.get("delta")) is dict:
            yield from _of_agent(raw)
        elif type(raw) is dict and type(raw.get("type")) is str:
            for piece in self._of_event(raw):
                self._said = True
                yield piece
        else:
            yield from _of_reply(replies.read(raw))

    def _of_event(self, event: dict[str, Any]) -> Iterator[Piece]:
        kind = event["type"]
        if kind == "response.output_text.delta":
            self._streamed.add(event.get("item_id"))
            yield Piece(TEXT, str(event.get("delta") or ""))
        elif kind == "response.output_item.done" and type(event.get("item")) is dict:
            yield from self._of_item(event["item"])
        elif kind == "response.completed" and type(event.get("response")) is dict:
            whole = event["response"]
            if not self._said and type(whole.get("output")) is list:
                yield from _of_reply(replies.read(whole))
            elif (usage := replies.chat_usage(whole.get("usage"))) is not None:
                yield Piece(USAGE, usage)
        elif kind in ("error", "response.error", "response.failed"):
            raise Failed(failure(event))

    def _of_item(self, item: dict[str, Any]) -> Iterator[Piece]:
        kind = item.get("type")
        if kind == "function_call_output":
            yield Piece(ANSWERED, item.get("call_id"))
        elif kind == "function_call" or (kind == "message" and item.get("id") not in self._streamed):
            reply = replies.read({"output": [item]})
            yield from _of_reply(reply)


def failure(event: dict[str, Any]) -> str:
    """What an event of a failure says."""
    error = event.get("error") or (event.get("response") or {}).get("error") or event
    message = error.get("message") if type(error) is dict else error
    return str(message or "The model has failed, and does not say why.")


def _of_chat(raw: dict[str, Any]) -> Iterator[Piece]:
    for choice in raw["choices"][:1]:
        delta = choice.get("delta") if type(choice) is dict else None
        if type(delta) is not dict:
            if type(choice) is dict and type(choice.get("message")) is dict:
                yield from _of_reply(replies.read(raw)._replace(usage=None))
                continue
            raise Odd("The model has streamed a choice that has no delta.")
        if delta.get("content"):
            yield Piece(TEXT, delta["content"])
        for part in delta.get("tool_calls") or ():
            yield Piece(CALL_PART, part)
        if choice.get("finish_reason"):
            yield Piece(FINISH, choice["finish_reason"])
    if (usage := replies.chat_usage(raw.get("usage"))) is not None:
        yield Piece(USAGE, usage)


def _of_agent(raw: dict[str, Any]) -> Iterator[Piece]:
    delta = raw["delta"]
    if delta.get("role") == "tool":
        yield Piece(ANSWERED, delta.get("tool_call_id"))
    else:
        for piece in _of_reply(replies.read({"content": None, **delta})):
            if piece.kind != FINISH:
                yield piece
    if raw.get("finish_reason"):
        yield Piece(FINISH, raw["finish_reason"])
    if (usage := replies.chat_usage(raw.get("usage"))) is not None:
        yield Piece(USAGE, usage)


def _of_reply(reply: replies.Reply) -> Iterator[Piece]:
    if reply.content or reply.refusal:
        yield Piece(TEXT, reply.content or reply.refusal)
    for call in reply.calls:
        yield Piece(CALL, call)
    if reply.finish is not None:
        yield Piece(FINISH, reply.finish)
    if reply.usage is not None:
        yield Piece(USAGE, reply.usage)
