"""From a model's answer to the objects of OpenAI's dialect. Pure.

What has the dialect's form already is kept, and completed by what clients rely on; a model may also answer in the other
kind of conversation, with one message, or with a text.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, NamedTuple

MAX_SHOWN = 10


class Odd(Exception):
    """The model's answer is none of the kind that was asked for; the message says what it is instead."""


class Told(NamedTuple):
    """What the gateway's side knows of an answer: an id without its prefix, the model's name, the time in seconds."""

    id: str
    model: str
    created: int


class Reply(NamedTuple):
    """What a model has said in the end. `items` are what it said as items of a response, if it speaks so."""

    content: str | None = None
    calls: tuple[dict[str, Any], ...] = ()
    refusal: str | None = None
    finish: str | None = None
    usage: dict[str, int] | None = None

    @property
    def reason(self) -> str:
        """Why it ended, as a chat has it."""
        return self.finish or ("tool_calls" if self.calls else "stop")


def completion(raw: Any, told: Told) -> dict[str, Any]:
    """A ``chat.completion``; raises Odd."""
    raw = _single(raw)
    head = {"id": f"chatcmpl-{told.id}", "object": "chat.completion", "created": told.created, "model": told.model}
    if type(raw) is dict and type(raw.get("choices")) is list:
        known = {name: value for name, value in raw.items() if value is not None}
        choices = [_choice(place, choice) for place, choice in enumerate(raw["choices"])]
        return {**head, **known, "object": "chat.completion", "model": told.model, "choices": choices}
    reply = read(raw)
    message: dict[str, Any] = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    if reply.calls:
        message["tool_calls"] = list(reply.calls)
    choice = {"index": 0, "message": message, "finish_reason": reply.reason, "logprobs": None}
    more = _custom(raw) if type(raw) is dict else {}
    usage = {"usage": reply.usage} if reply.usage is not None else {}
    return {**head, "choices": [choice], **usage, **more}


def response(raw: Any, told: Told) -> dict[str, Any]:
    """A ``response``; raises Odd."""
    raw = _single(raw)
    if type(raw) is dict and type(raw.get("output")) is list:
        return {**response_head(told), "status": "completed", **_known(raw), "model": told.model, "object": "response"}
    reply = read(raw)
    more = _custom(raw) if type(raw) is dict else {}
    usage = {"usage": response_usage(reply.usage)} if reply.usage is not None else {}
    return {**response_head(told), "status": "completed", "output": output(reply, told), **usage, **more}


def response_head(told: Told) -> dict[str, Any]:
    """What every response says, whatever the model has answered."""
    return {
        "id": f"resp_{told.id}",
        "object": "response",
        "created_at": told.created,
        "model": told.model,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def output(reply: Reply, told: Told) -> list[dict[str, Any]]:
    """The items of a response that say what a chat model has answered."""
    items: list[dict[str, Any]] = []
    if reply.content is not None or reply.refusal is not None or not reply.calls:
        items.append(message_item(f"msg_{told.id}", reply.content or "", refusal=reply.refusal))
    for place, call in enumerate(reply.calls):
        items.append({"type": "function_call", "id": f"fc_{told.id}_{place}", "status": "completed", **_flat(call)})
    return items


def message_item(identity: str, text: str, *, refusal: str | None = None) -> dict[str, Any]:
    """An item of a response with one text."""
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    if refusal is not None:
        part = {"type": "refusal", "refusal": refusal}
    return {"type": "message", "id": identity, "status": "completed", "role": "assistant", "content": [part]}


def response_usage(usage: dict[str, int]) -> dict[str, Any]:
    """Tokens as responses count them."""
    read_, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {
        "input_tokens": read_,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.get("total_tokens", read_ + written),
    }


def chat_usage(usage: Any) -> dict[str, int] | None:
    """Tokens as chats count them, whichever way the model has counted; None: it has not."""
    if type(usage) is not dict:
        return None
    read_ = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    written = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    total = usage.get("total_tokens") or read_ + written
    return {"prompt_tokens": read_, "completion_tokens": written, "total_tokens": total}


def read(raw: Any) -> Reply:
    """What a model has said; raises Odd for what is no answer to a conversation."""
    raw = _single(raw)
    if type(raw) is str:
        return Reply(content=raw)
    if type(raw) is not dict:
        raise Odd(f"The model has answered with {_shown(raw)}, and not with a message.")
    usage = chat_usage(raw.get("usage"))
    if type(raw.get("choices")) is list and raw["choices"]:
        choice = _choice(0, raw["choices"][0])
        return read(choice["message"])._replace(finish=choice["finish_reason"], usage=usage)
    if type(raw.get("messages")) is list:
        said = [one for one in raw["messages"] if type(one) is dict and one.get("role") == "assistant"]
        if not said:
            raise Odd("The model has answered with messages of which none is the assistant's.")
        return read(said[-1])._replace(finish=raw.get("finish_reason"), usage=usage)
    if type(raw.get("output")) is list:
        return _read_output(raw["output"])._replace(usage=usage)
    if "content" in raw or raw.get("tool_calls"):
        content = raw.get("content")
        if type(content) is list:
            content = "".join(str(part.get("text", "")) if type(part) is dict else str(part) for part in content)
        if content is not None and type(content) is not str:
            raise Odd(f"The model has answered with a message whose content is {_shown(content)}.")
        return Reply(content, tuple(map(_call, raw.get("tool_calls") or ())), raw.get("refusal"))
    raise Odd(f"The model has answered with {_shown(raw)}, and not with a message.")


def vectors(raw: Any) -> list[list[float]]:
    """The vectors of an answer to texts; raises Odd."""
    found: list[Any]
    if type(raw) is dict and type(raw.get("data")) is list:
        found = [one.get("embedding") if type(one) is dict else None for one in raw["data"]]
    else:
        found = raw if type(raw) is list else []
        if found and all(type(one) is dict and len(one) == 1 for one in found):
            found = [next(iter(one.values())) for one in found]  # of a table with one column
        elif found and type(found[0]) is dict:
            found = [list(one.values()) for one in found]  # of one with a column for each dimension
    if not found or any(type(one) is not list or set(map(type, one)) - {float, int} for one in found):
        raise Odd(f"The model has answered with {_shown(raw)}, and not with a vector for each text.")
    return found


def embeddings(raw: Any, texts: int, told: Told, *, in_base64: bool) -> dict[str, Any]:
    """A list of ``embedding``; raises Odd."""
    found = vectors(raw)
    if len(found) != texts:
        raise Odd(f"The model has answered {texts} texts with {len(found)} vectors.")
    usage = chat_usage(raw.get("usage")) if type(raw) is dict else None
    tokens = usage["prompt_tokens"] if usage is not None else 0
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(one) if in_base64 else one}
        for place, one in enumerate(found)
    ]
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": told.model, "usage": counted}


def text_completion(raw: Any, prompts: int, told: Told) -> dict[str, Any]:
    """A ``text_completion``; raises Odd."""
    head = {"id": f"cmpl-{told.id}", "object": "text_completion", "created": told.created, "model": told.model}
    raw = _single(raw) if prompts == 1 else raw
    usage: Any = None
    if type(raw) is dict and type(raw.get("choices")) is list:
        texts = [one.get("text") if type(one) is dict else None for one in raw["choices"]]
        usage = chat_usage(raw.get("usage"))
    else:
        texts = [_text(one) for one in (raw if type(raw) is list else [raw])]
        if len(texts) != prompts:
            raise Odd(f"The model has answered {prompts} prompts with {len(texts)} texts.")
    if any(type(one) is not str for one in texts):
        raise Odd(f"The model has answered with {_shown(raw)}, and not with a text for each prompt.")
    choices = [{"index": i, "text": one, "finish_reason": "stop", "logprobs": None} for i, one in enumerate(texts)]
    return {**head, "choices": choices, **({"usage": usage} if usage is not None else {})}


def _text(value: Any) -> Any:
    """The text of one answer, which may stand in a list or in an object of its own."""
    while type(value) in (list, dict) and len(value) == 1:
        value = value[0] if type(value) is list else next(iter(value.values()))
    return value


def _packed(vector: list[float]) -> str:
    """32-bit floats, little endian, in base64."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise Odd("The model has answered with a number that is too large for 32 bits.") from None


def _choice(place: int, choice: Any) -> dict[str, Any]:
    message = choice.get("message") if type(choice) is dict else None
    if type(message) is not dict:
        raise Odd("The model has answered with a choice that has no message.")
    message = {"role": "assistant", "content": None, **message}
    reason = choice.get("finish_reason") or ("tool_calls" if message.get("tool_calls") else "stop")
    return {"index": place, "logprobs": None, **choice, "message": message, "finish_reason": reason}


def _read_output(items: list[Any]) -> Reply:
    """What a response says in its last message, and which calls it leaves to the client."""
    answered = {item.get("call_id") for item in items if _kind(item) == "function_call_output"}
    calls = tuple(
        _call({"id": item.get("call_id"), "function": {k: item.get(k) for k in ("name", "arguments")}})
        for item in items
        if _kind(item) == "function_call" and item.get("call_id") not in answered
    )
    parts = [part for item in items if _kind(item) == "message" for part in item.get("content") or () if _kind(part)]
    texts = [str(part.get("text", "")) for part in parts if part["type"] == "output_text"]
    refusals = [str(part.get("refusal", "")) for part in parts if part["type"] == "refusal"]
    return Reply("".join(texts) if texts else None, calls, "".join(refusals) if refusals else None)


def _call(call: Any) -> dict[str, Any]:
    function = call.get("function") if type(call) is dict else None
    if type(function) is not dict:
        raise Odd("The model has answered with a call of a tool that names no function.")
    told = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
    return {"id": call.get("id") or f"call_{told['name']}", "type": "function", "function": told}


def _flat(call: dict[str, Any]) -> dict[str, Any]:
    return {"call_id": call["id"], **call["function"]}


def _single(raw: Any) -> Any:
    return raw[0] if type(raw) is list and len(raw) == 1 else raw


def _kind(item: Any) -> Any:
    return item.get("type") if type(item) is dict else None


def _known(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if value is not None}


def _custom(raw: dict[str, Any]) -> dict[str, Any]:
    """What MLflow's agents say beside the dialect."""
    return {name: raw[name] for name in ("custom_outputs",) if raw.get(name) is not None}


def _shown(raw: Any) -> str:
    if type(raw) is dict:
        return f"an object of {', '.join(map(str, list(raw)[:MAX_SHOWN])) or 'nothing'}"
    return f"a list of {len(raw)}" if type(raw) is list else f"a {type(raw).__name__}"
