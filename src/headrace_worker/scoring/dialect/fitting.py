"""From a request in OpenAI's dialect to what a model is given: the other kind of conversation, other names, no more.

Pure. What a signature has no place for goes into ``custom_inputs``, where MLflow's agents have that.
"""

from __future__ import annotations

from typing import Any

from headrace_worker.scoring.dialect import forms
from headrace_worker.scoring.dialect.requests import Asked, refused

_OWN = frozenset(("model", "stream", "stream_options"))
"""Members that are the server's business."""

CUSTOM = "custom_inputs"
_SAME = frozenset(("temperature", "top_p", "metadata", "user", "parallel_tool_calls", "store", CUSTOM, "context"))
"""Members that are called alike in both kinds of conversation."""


def conversation(asked: Asked, form: forms.Form) -> dict[str, Any]:
    """The members that a model is given which takes requests whole; raises Refusal."""
    document = asked.document
    if form.speaks == forms.RESPONSES:
        if asked.kind == forms.CHAT:
            document = _as_responses(document)
        return _as_agent_takes_it(document, stream=asked.stream)
    if asked.kind == forms.RESPONSES:
        document = _as_chat(document)
    given = {name: value for name, value in document.items() if name not in _OWN}
    given["messages"] = _named(given["messages"])
    specs = form.specs
    if specs is None:
        return given
    most = given.pop("max_completion_tokens", None)
    if most is not None:
        given["max_completion_tokens" if "max_completion_tokens" in specs else "max_tokens"] = most
    if "content" in (members := _members(specs["messages"])) and members["content"].get("type") == "string":
        given["messages"] = [_in_text(place, message) for place, message in enumerate(given["messages"])]
    if asked.stream and "stream" in specs:
        given["stream"] = True
    return in_place(given, form)


def last_text(asked: Asked) -> str:
    """The text of a conversation's only message, for models that take a text; raises Refusal where there are more."""
    document = asked.document if asked.kind == forms.CHAT else _as_chat(asked.document)
    if len(document["messages"]) != 1:
        raise refused("This model takes one text, and no conversation: send one message of the user.", "messages")
    return str(_in_text(0, document["messages"][0]).get("content") or "")


def in_place(given: dict[str, Any], form: forms.Form) -> dict[str, Any]:
    """The members of a request that the model's signature has a place for, of its types."""
    specs = form.specs
    if specs is None:
        return {name: value for name, value in given.items() if name not in _OWN}
    found: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for name, value in given.items():
        if name in specs:
            found[name] = fitted(value, specs[name])
            if name == "tools" and found[name] != value:
                left[name] = value
        elif name in form.params:
            found[name] = value
        else:
            left[name] = value
    if left and CUSTOM in specs:
        found[CUSTOM] = {**left, **found.get(CUSTOM, {})}
    return found


def fitted(value: Any, spec: Any) -> Any:
    """`value` without the members that `spec`, of a signature, has no place for, and with its types of numbers."""
    kind = spec.get("type") if type(spec) is dict else None
    if kind == "double" and type(value) is int:
        return float(value)
    if kind == "array" and type(value) is list:
        return [fitted(one, spec["items"]) for one in value]
    if kind == "map" and type(value) is dict:
        return {name: fitted(one, spec["values"]) for name, one in value.items()}
    if kind == "object" and type(value) is dict:
        return {
            name: fitted(one, spec["properties"][name]) for name, one in value.items() if name in spec["properties"]
        }
    return value


def _members(spec: dict[str, Any]) -> dict[str, Any]:
    """What the signature says of one message."""
    items = spec.get("items")
    return dict(items.get("properties") or {}) if type(items) is dict else {}


def _in_text(place: int, message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is one text; raises Refusal for images and the like."""
    content = message.get("content")
    if type(content) is not list:
        return message
    for at, part in enumerate(content):
        if part["type"] not in ("text", "refusal"):
            raise refused("This model takes texts alone.", f"messages[{place}].content[{at}].type")
    return {**message, "content": "".join(str(part.get("text") or part.get("refusal") or "") for part in content)}


def _named(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of tools say which tool, as the call does that they answer: MLflow's agents want that."""
    names: dict[str, Any] = {}
    found = []
    for message in messages:
        for call in message.get("tool_calls") or ():
            if type(call) is dict and type(call.get("function")) is dict:
                names[str(call.get("id"))] = call["function"].get("name")
        name = names.get(str(message.get("tool_call_id")))
        is_bare = message["role"] == "tool" and not message.get("name") and name
        found.append({**message, "name": name} if is_bare else message)
    return found


def _as_agent_takes_it(document: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """What a `ResponsesAgent` is given: its input is always a list, and it has no instructions."""
    given = {name: value for name, value in document.items() if name not in _OWN}
    items = given["input"]
    if type(items) is str:
        items = [{"role": "user", "content": items}]
    instructions = given.pop("instructions", None)
    if type(instructions) is str and instructions:
        items = [{"role": "system", "content": instructions}, *items]
    return {**given, "input": items, "stream": True} if stream else {**given, "input": items}


# From one kind of conversation to the other.

_PARTS_IN = {"text": "input_text", "refusal": "input_text"}
_PARTS_OUT = {"input_text": "text", "output_text": "text", "refusal": "text"}


def _as_responses(document: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in document.items() if name in _SAME}
    found["input"] = [item for message in _named(document["messages"]) for item in _items(message)]
    most = document.get("max_completion_tokens", document.get("max_tokens"))
    if most is not None:
        found["max_output_tokens"] = most
    if "tools" in document:
        found["tools"] = [{"type": "function", "parameters": {}, **tool["function"]} for tool in document["tools"]]
    choice = document.get("tool_choice")
    if choice is not None:
        found["tool_choice"] = {"type": "function", **choice["function"]} if "function" in choice else choice
    if "reasoning_effort" in document:
        found["reasoning"] = {"effort": document["reasoning_effort"]}
    return found


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of one message of a chat."""
    role, content = message["role"], message.get("content")
    if role in ("tool", "function"):
        called = message.get("tool_call_id") or message.get("name")
        return [{"type": "function_call_output", "call_id": called, "output": _in_text(0, message)["content"]}]
    found: list[dict[str, Any]] = []
    if type(content) is list and role == "assistant":
        content = _in_text(0, message)["content"]
    if type(content) is list:
        content = [_part_in(part) for part in content]
    if content is not None:
        found.append({"type": "message", "role": role, "content": content})
    for call in message.get("tool_calls") or ():
        told = {"call_id": call.get("id"), "id": call.get("id"), **call.get("function", {})}
        found.append({"type": "function_call", **told})
    return found


def _part_in(part: dict[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind == "image_url":
        image = part.get("image_url")
        return {"type": "input_image", **({"image_url": image.get("url")} if type(image) is dict else {})}
    if kind == "file":
        return {"type": "input_file", **part.get("file", {})}
    return {"type": _PARTS_IN.get(kind, kind), "text": part.get("text") or part.get("refusal") or ""}


def _as_chat(document: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in document.items() if name in _SAME}
    given = document["input"]
    items = [{"role": "user", "content": given}] if type(given) is str else given
    instructions = document.get("instructions")
    messages = [{"role": "system", "content": instructions}] if type(instructions) is str and instructions else []
    for place, item in enumerate(items):
        _add_message(messages, place, item)
    found["messages"] = messages
    if "max_output_tokens" in document:
        found["max_completion_tokens"] = document["max_output_tokens"]
    functions = [tool for tool in document.get("tools", ()) if tool["type"] == "function"]
    if functions:
        found["tools"] = [
            {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}} for tool in functions
        ]
    choice = document.get("tool_choice")
    if choice is not None:
        is_named = type(choice) is dict and "name" in choice
        found["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}} if is_named else choice
    return found


def _add_message(messages: list[dict[str, Any]], place: int, item: dict[str, Any]) -> None:
    """Add one item to the messages of a chat; raises Refusal for what a chat has no form for."""
    kind = item.get("type", "message")
    if kind == "message":
        content = item["content"]
        if type(content) is list:
            content = [_part_out(part) for part in content]
            if all(part["type"] == "text" for part in content):
                content = "".join(part["text"] for part in content)
        messages.append({"role": item["role"], "content": content})
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        if messages and messages[-1]["role"] == "assistant":
            messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), call]}
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output":
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")})
    elif kind != "reasoning":  # which is the model's own, and no message
        raise refused("A chat model takes no such item.", f"input[{place}].type")


def _part_out(part: dict[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind in _PARTS_OUT:
        return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}
    return part
