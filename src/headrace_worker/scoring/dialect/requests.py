"""Requests in OpenAI's dialect: what they may hold. Pure.

What is checked here is what every model needs; the rest is the model's to take or refuse.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from headrace_worker.scoring.dialect import forms
from headrace_worker.scoring.errors.refusal import Refusal

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PARTS = ("text", "image_url", "input_audio", "file", "refusal")
ITEM_PARTS = ("input_text", "output_text", "input_image", "input_file", "input_audio", "refusal", "summary_text")
FORMATS = ("float", "base64")
MAX_TEXTS = 100_000


class Asked(NamedTuple):
    """One request. `model` is what the served model is called.

    `stream`: the answer is wanted in events, `usage`: with one that tells tokens. `in_base64`: vectors are wanted so.
    """

    kind: str
    model: str
    document: dict[str, Any]
    stream: bool = False
    usage: bool = False
    in_base64: bool = False


def refused(message: str, param: str = "") -> Refusal:
    """A fault of the caller's."""
    return Refusal(400, "invalid_value", message, param)


def read(kind: str, model: str, document: Any) -> Asked:
    """Check the parsed body of a request; raises Refusal."""
    if type(document) is not dict:
        raise refused("The body must be a JSON object.")
    document = {name: value for name, value in document.items() if value is not None}
    stream = _flag(document, "stream")
    if document.get("n", 1) != 1:
        raise refused("One choice a request is all that is given here: leave 'n' out, and ask again for more.", "n")
    if kind == forms.EMBEDDINGS:
        coding = document.get("encoding_format", "float")
        if coding not in FORMATS:
            raise refused(f"Expected one of {_listed(FORMATS)}.", "encoding_format")
        return Asked(kind, model, {**document, "input": texts(document, "input")}, in_base64=coding == "base64")
    options = document.get("stream_options", {})
    if type(options) is not dict:
        raise refused("Expected an object.", "stream_options")
    usage = _flag(options, "include_usage", "stream_options.")
    if kind == forms.COMPLETIONS:
        return Asked(kind, model, {**document, "prompt": texts(document, "prompt")}, stream, usage)
    if kind == forms.CHAT:
        _check_messages(document)
    else:
        _check_input(document)
    _check_tools(document)
    return Asked(kind, model, document, stream, usage)


def texts(document: dict[str, Any], name: str) -> list[str]:
    """The texts of an input, which may be one text; raises Refusal for tokens and all else."""
    given = document.get(name)
    found = [given] if type(given) is str else given
    if type(found) is not list or not found:
        raise refused("Expected a text, or a list of at least one text.", name)
    for place, one in enumerate(found):
        if type(one) is not str:
            what = "Tokens are not taken here: send texts." if type(one) in (int, list) else "Expected a text."
            raise refused(what, f"{name}[{place}]" if type(given) is list else name)
    if len(found) > MAX_TEXTS:
        raise refused(f"{len(found)} texts; at most {MAX_TEXTS} are taken in a request.", name)
    return found


def _check_messages(document: dict[str, Any]) -> None:
    messages = document.get("messages")
    if type(messages) is not list or not messages:
        raise refused("Expected a list of at least one message.", "messages")
    modalities = document.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise refused("Models answer with text here: leave it out, or send ['text'].", "modalities")
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if type(message) is not dict:
            raise refused("Expected an object with 'role' and 'content'.", where)
        role = message.get("role")
        if role not in ROLES:
            raise refused(f"Unknown role; there are {_listed(ROLES)}.", f"{where}.role")
        if role == "tool" and type(message.get("tool_call_id")) is not str:
            raise refused("A tool's message says which call it answers.", f"{where}.tool_call_id")
        content = message.get("content")
        if content is None and role == "assistant":
            continue
        _check_content(content, PARTS, f"{where}.content")


def _check_content(content: Any, parts: tuple[str, ...], where: str) -> None:
    if type(content) is str:
        return
    if type(content) is not list:
        raise refused("Expected a text, or a list of parts.", where)
    for place, part in enumerate(content):
        kind = part.get("type") if type(part) is dict else None
        if kind not in parts:
            raise refused(f"Unknown type of content; there are {_listed(parts)}.", f"{where}[{place}].type")
        if kind in ("text", "input_text", "output_text") and type(part.get("text")) is not str:
            raise refused("Expected a text.", f"{where}[{place}].text")
        _check_data(part, f"{where}[{place}]")


def _check_data(part: dict[str, Any], where: str) -> None:
    """What is sent in base64 can be read."""
    image, audio = part.get("image_url"), part.get("input_audio")
    if type(image) is dict:
        image, where = image.get("url"), f"{where}.image_url.url"
    if type(image) is str and image.startswith("data:"):
        head, _, data = image.partition(",")
        if head.endswith(";base64") and not _is_base64(data):
            raise refused("The data is not valid base64.", where)
    if audio is not None and not (type(audio) is dict and _is_base64(audio.get("data"))):
        raise refused("The data is not valid base64.", f"{where}.input_audio.data")


def _is_base64(data: Any) -> bool:
    try:
        return type(data) is str and bool(base64.b64decode(data, validate=True))
    except ValueError:
        return False


def _check_input(document: dict[str, Any]) -> None:
    for name in ("previous_response_id", "conversation"):
        if document.get(name) is not None:
            raise refused("Nothing is kept of earlier responses here: send the whole conversation as 'input'.", name)
    if _flag(document, "background"):
        raise refused("Responses are not made in the background here: leave it out.", "background")
    given = document.get("input")
    if type(given) is str:
        return
    if type(given) is not list or not given:
        raise refused("Expected a text, or a list of at least one item.", "input")
    for place, item in enumerate(given):
        where = f"input[{place}]"
        if type(item) is not dict:
            raise refused("Expected an object.", where)
        if item.get("type", "message") != "message":
            if type(item["type"]) is not str:
                raise refused("Expected a text.", f"{where}.type")
            continue
        if item.get("role") not in ROLES[:4]:
            raise refused(f"Unknown role; there are {_listed(ROLES[:4])}.", f"{where}.role")
        _check_content(item.get("content"), ITEM_PARTS, f"{where}.content")


def _check_tools(document: dict[str, Any]) -> None:
    tools = document.get("tools")
    if tools is None:
        return
    if type(tools) is not list:
        raise refused("Expected a list.", "tools")
    for place, tool in enumerate(tools):
        kind = tool.get("type") if type(tool) is dict else None
        if type(kind) is not str or ("messages" in document and kind != "function"):
            raise refused("Unknown type of tool; there is 'function'.", f"tools[{place}].type")
        if kind == "function":
            function = tool.get("function") if "messages" in document else tool
            if type(function) is not dict or type(function.get("name")) is not str:
                raise refused("A function has a name.", f"tools[{place}].function.name")


def _flag(document: dict[str, Any], name: str, where: str = "") -> bool:
    value = document.get(name, False)
    if type(value) is not bool:
        raise refused("Expected true or false.", f"{where}{name}")
    return value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
