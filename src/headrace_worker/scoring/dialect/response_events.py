"""The events of a streamed response: all that OpenAI's clients wait for, also where the model leaves some out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.dialect import pieces, replies

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAME = frozenset(("response.created", "response.in_progress", "response.queued"))
_FAILED = frozenset(("error", "response.error", "response.failed"))


class ResponseEvents:
    """Made of a `ResponsesAgent`'s events, which are passed on and completed, or of a chat model's chunks."""

    tail = b""

    def __init__(self, told: replies.Told) -> None:
        self._told = told
        self._chunks = pieces.Chunks()
        self._number = 0
        self._items: list[dict[str, Any]] = []
        self._open: str | None = None
        self._opened = False
        self._text: list[str] = []
        self._calls: dict[Any, dict[str, Any]] = {}
        self._whole: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None

    def begin(self) -> Iterator[dict[str, Any]]:
        """Before the first chunk."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response={**replies.response_head(self._told), "status": "in_progress"})

    def chunk(self, raw: Any) -> Iterator[dict[str, Any]]:
        """What one chunk becomes; raises Odd and Failed."""
        if type(raw) is dict and type(raw.get("type")) is str and "choices" not in raw:
            yield from self._pass_on(raw)
            return
        for kind, value in self._chunks.read(raw):
            if kind == pieces.TEXT:
                yield from self._say(f"msg_{self._told.id}", value)
            elif kind == pieces.CALL:
                self._calls[value["id"]] = value
            elif kind == pieces.CALL_PART:
                self._grow(value)
            elif kind == pieces.ANSWERED:
                self._calls.pop(value, None)
            elif kind == pieces.USAGE:
                self._usage = replies.response_usage(value)

    def end(self) -> Iterator[dict[str, Any]]:
        """After the last chunk."""
        yield from self._close()
        reply = replies.Reply(calls=tuple(self._calls.values()))
        for item in replies.output(reply, self._told) if reply.calls else ():
            yield from self._item(item)
        if not self._items and self._whole.get("output"):
            for item in self._whole["output"]:
                yield from self._item(item)
        whole = {**replies.response_head(self._told), "status": "completed", **self._whole, "model": self._told.model}
        whole["output"] = self._items
        if self._usage is not None:
            whole.setdefault("usage", self._usage)
        kind = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
        yield self._event(kind, response=whole)

    def _pass_on(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """An event of the model's own."""
        kind = event["type"]
        if kind in _FAILED:
            raise pieces.Failed(pieces.failure(event))
        if kind in _FRAME:
            return
        if kind in {"response.completed", "response.incomplete"}:
            found = event.get("response")
            known = found.items() if type(found) is dict else ()
            self._whole = {name: value for name, value in known if value is not None and name != "id"}
        elif kind == "response.output_text.delta":
            yield from self._say(str(event.get("item_id")), str(event.get("delta") or ""))
        elif kind == "response.output_item.done" and type(event.get("item")) is dict:
            yield from self._item(event["item"])
        elif kind == "response.output_item.added" and type(event.get("item")) is dict:
            item = event["item"]
            if item.get("type") == "message":
                yield from self._begin(str(item.get("id")))
            else:
                yield self._event(kind, item=item)
                self._opened = True
        elif kind not in {"response.content_part.added", "response.content_part.done", "response.output_text.done"}:
            more = {name: value for name, value in event.items() if value is not None and name != "type"}
            yield self._event(kind, **{"output_index": len(self._items), **more})

    def _say(self, item_id: str, text: str) -> Iterator[dict[str, Any]]:
        if self._open != item_id:
            yield from self._begin(item_id)
        self._text.append(text)
        at = {"item_id": item_id, "content_index": 0}
        yield self._event("response.output_text.delta", **at, delta=text, logprobs=[])

    def _begin(self, item_id: str) -> Iterator[dict[str, Any]]:
        yield from self._close()
        self._open = item_id
        item = {**replies.message_item(item_id, ""), "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", item=item)
        part = {"type": "output_text", "text": "", "annotations": []}
        yield self._event("response.content_part.added", item_id=item_id, content_index=0, part=part)

    def _close(self, item: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """End the message that is being said; `item` is the whole of it, where the model tells that."""
        if self._open is None:
            return
        item_id, text = self._open, "".join(self._text)
        self._open, self._text = None, []
        whole = item if item is not None else replies.message_item(item_id, text)
        content = whole.get("content")
        parts = content if type(content) is list and content else replies.message_item(item_id, text)["content"]
        at = {"item_id": item_id, "content_index": 0}
        yield self._event("response.output_text.done", **at, text=text, logprobs=[])
        yield self._event("response.content_part.done", **at, part=parts[0])
        yield self._event("response.output_item.done", item=whole)
        self._items.append(whole)

    def _item(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A whole item."""
        item = {name: value for name, value in item.items() if value is not None}
        if item.get("type") == "message":
            item = {"status": "completed", "role": "assistant", **item}
            item_id = str(item.get("id"))
            if self._open != item_id:
                yield from self._begin(item_id)
                parts = item.get("content") or ()
                for text in (one.get("text") for one in parts if type(one) is dict):
                    if text:
                        yield from self._say(item_id, str(text))
            yield from self._close(item)
            return
        yield from self._close()
        if not self._opened:
            yield self._event("response.output_item.added", item=item)
        self._opened = False
        yield self._event("response.output_item.done", item=item)
        self._items.append(item)

    def _grow(self, part: dict[str, Any]) -> None:
        """More of a call that a chat model streams."""
        function = part.get("function") or {}
        empty: dict[str, Any] = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self._calls.setdefault(("part", part.get("index", 0)), empty)
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        number, self._number = self._number, self._number + 1
        if "response" not in more:
            more.setdefault("output_index", len(self._items))
        return {"type": kind, "sequence_number": number, **more}
