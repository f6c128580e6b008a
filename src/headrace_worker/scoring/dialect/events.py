"""A model's stream as the events of OpenAI's dialect."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from headrace_worker.scoring.dialect import errors, forms, replies
from headrace_worker.scoring.dialect.pieces import ANSWERED, CALL, CALL_PART, FINISH, TEXT, USAGE, Chunks, Failed
from headrace_worker.scoring.dialect.replies import Odd
from headrace_worker.scoring.output import Unsendable
from headrace_worker.scoring.streaming import ToldInStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace_worker.scoring.dialect.requests import Asked

DONE = b"data: [DONE]\n\n"


class Maker(Protocol):
    """Makes events of chunks, each the object that it holds. `tail` comes after the last."""

    tail: bytes

    def begin(self) -> Iterator[dict[str, Any]]:
        """Before the first chunk."""

    def chunk(self, raw: Any) -> Iterator[dict[str, Any]]:
        """What one chunk becomes; raises Odd and Failed."""

    def end(self) -> Iterator[dict[str, Any]]:
        """After the last chunk."""


def make(asked: Asked, told: replies.Told) -> Maker:
    """The maker for a request that asked for a stream."""
    if asked.kind == forms.RESPONSES:
        from headrace_worker.scoring.dialect.response_events import ResponseEvents

        return ResponseEvents(told)
    return ChatEvents(told, usage=asked.usage)


def events(
    kind: str, maker: Maker, chunks: Iterator[Any], encode: Callable[[Any], bytes], *, strict: bool
) -> Iterator[bytes]:
    """Server-sent events of `chunks`; closing this closes the model's generator.

    Raises ToldInStream after an event that tells of an error, and nothing of the model's.
    """
    try:
        for event in maker.begin():
            yield _sent(kind, event, encode)
        for chunk in chunks:
            for event in maker.chunk(chunk):
                yield _sent(kind, event, encode)
        for event in maker.end():
            yield _sent(kind, event, encode)
    except GeneratorExit:
        raise
    except (Unsendable, Odd, Failed) as error:
        yield errors.event(kind, str(error))
        raise ToldInStream from error
    except BaseException as error:
        detail = "" if strict else f": {type(error).__name__}: {error}"
        yield errors.event(kind, f"The model failed while it was streaming{detail}")
        raise ToldInStream from error
    else:
        if maker.tail:
            yield maker.tail
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()


def _sent(kind: str, event: dict[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    data = b"data: " + encode(event) + b"\n\n"
    return b"event: " + event["type"].encode() + b"\n" + data if kind == forms.RESPONSES else data


def whole_completion(answer: dict[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    """All events of a text completion that was made in one piece."""
    return b"data: " + encode(answer) + b"\n\n" + DONE


class ChatEvents:
    """Chunks of a chat. Calls of tools are told at the end, where the model has not answered them by itself."""

    tail = DONE

    def __init__(self, told: replies.Told, *, usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{told.id}",
            "object": "chat.completion.chunk",
            "created": told.created,
            "model": told.model,
        }
        self._wants_usage = usage
        self._chunks = Chunks()
        self._calls: dict[Any, dict[str, Any]] = {}
        self._began = self._called = False
        self._finish: str | None = None
        self._usage: dict[str, int] | None = None

    def begin(self) -> Iterator[dict[str, Any]]:
        """Nothing is said before the model says something."""
        return iter(())

    def chunk(self, raw: Any) -> Iterator[dict[str, Any]]:
        """What one chunk becomes; raises Odd and Failed."""
        for kind, value in self._chunks.read(raw):
            if kind == TEXT:
                yield self._delta({"content": value})
            elif kind == CALL_PART:
                self._called = True
                yield self._delta({"tool_calls": [value]})
            elif kind == CALL:
                self._calls[value["id"]] = value
            elif kind == ANSWERED:
                self._calls.pop(value, None)
            elif kind == FINISH:
                self._finish = value
            elif kind == USAGE:
                self._usage = value

    def end(self) -> Iterator[dict[str, Any]]:
        """After the last chunk."""
        for place, call in enumerate(self._calls.values()):
            yield self._delta({"tool_calls": [{"index": place, **call}]})
        is_called = self._called or bool(self._calls)
        yield self._delta({}, self._finish or ("tool_calls" if is_called else "stop"))
        if self._wants_usage and self._usage is not None:
            yield {**self._head, "choices": [], "usage": self._usage}

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        if not self._began:
            self._began = True
            delta = {"role": "assistant", **delta}
        return {**self._head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
