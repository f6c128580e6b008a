"""What models of each form are asked, and what becomes of their answers, in OpenAI's dialect."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.loaders import chat_agent, responses_agent
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, schema
from mlflow.types.agent import CHAT_AGENT_INPUT_SCHEMA
from mlflow.types.responses import RESPONSES_AGENT_INPUT_SCHEMA
from mlflow.types.schema import Array, Object, Property

from headrace_worker import scoring, wire
from headrace_worker.scoring.dialect import forms
from tests.openai_rig.models import Agent, Clerk

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
MESSAGES = Schema(
    [ColSpec(Array(Object([Property("role", DataType.string), Property("content", DataType.string)])), "messages")]
)
PROMPT = Schema([ColSpec(DataType.string, "prompt")])


def listed(name: str) -> Schema:
    return Schema([ColSpec(Array(wrapped(schema.AnyType)), name)])


class Impl:
    """A model around a function; `given` is what it was given last."""

    def __init__(self, function: Callable[[Any], Any], task: str | None) -> None:
        self.task = task
        self.given: Any = None
        self._function = function

    def predict(self, data: Any, params: Any = None) -> Any:
        self.given = data, params
        return self._function(data)

    def predict_stream(self, data: Any, params: Any = None) -> Iterator[Any]:
        self.given = data, params
        yield from self._function(data)


def load(
    model: Any,
    inputs: Schema | None = None,
    outputs: Schema | None = None,
    *,
    loader: str = "tests",
    task: str | None = None,
    own_task: str | None = None,
    params: list[ParamSpec] | None = None,
    streams: bool = False,
) -> tuple[scoring.Scorer, Any]:
    """A scorer of a function, or of what MLflow wraps an agent in, and what is behind it."""
    impl = Impl(model, own_task) if not hasattr(model, "predict") else model
    meta = Model()
    meta.add_flavor("python_function", loader_module=loader)
    meta.metadata = {"task": task} if task is not None else None
    if inputs is not None or params is not None:
        schemas: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "params": params and ParamSchema(params)}
        meta.signature = ModelSignature(**schemas)
    stream = "predict_stream" if streams or hasattr(model, "predict") else None
    pyfunc = PyFuncModel(model_meta=meta, model_impl=impl, predict_stream_fn=stream)
    return scoring.Scorer(pyfunc, "nowhere", scoring.ScoringOptions()), impl


def wrapped(make: Any, *arguments: Any) -> Any:
    """An agent as MLflow loads it."""
    return make(*arguments)


def answer(scorer: scoring.Scorer, kind: str, body: dict[str, Any]) -> tuple[int, Any]:
    """(status, what the answer holds: its document, or those of its events)."""
    accept = b"text/event-stream" if body.get("stream") else b""
    head = wire.spoken_head(wire.Spoken(f"{wire.OPENAI}/{kind}", "m"), wire.head(b"application/json", b"", accept))
    view = memoryview(json.dumps(body).encode())
    if scorer.wants_stream(head, view):
        made = scorer.stream(head, view)
        if not isinstance(made, wire.Answer):
            events: list[bytes] = []
            with contextlib.suppress(scoring.ToldInStream):
                for event in made:
                    events.append(event)  # noqa: PERF402 - what came before it is raised is wanted, too
            return 200, read_events(b"".join(events))
        return made.status, json.loads(made.body)
    (found,), _, _ = scorer.score([head], b"\0", [view])
    if found.content_type == b"text/event-stream":
        return found.status, read_events(found.body)
    return found.status, json.loads(found.body)


def read_events(text: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in text.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def said(document: Any) -> Any:
    return document["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        ({"task": "agent/v1/responses"}, "chat responses"),
        ({"task": "agent/v2/chat"}, "chat responses"),
        ({"task": "llm/v1/chat"}, "chat responses"),
        ({"loader": "mlflow.langchain"}, "chat responses"),
        ({"loader": "mlflow.openai", "own_task": "chat.completions"}, "chat responses"),
        ({"loader": "mlflow.openai", "own_task": "embeddings"}, "embeddings"),
        ({"loader": "mlflow.openai", "own_task": "completions"}, "completions"),
        ({"loader": "mlflow.sentence_transformers"}, "embeddings"),
        ({"task": "llm/v1/embeddings"}, "embeddings"),
        ({"task": "llm/v1/completions"}, "completions"),
        ({"inputs": MESSAGES}, "chat responses"),
        ({"inputs": PROMPT}, "completions"),
        ({"inputs": listed("input"), "outputs": listed("output")}, "chat responses"),
        ({"inputs": listed("input"), "outputs": listed("data")}, "embeddings"),
        ({"inputs": Schema([ColSpec(DataType.string, "text")])}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_a_model_speaks_follows_from_what_mlflow_says_of_it(made: dict[str, Any], kinds: str) -> None:
    scorer, _ = load(lambda data: data, **made)
    assert scorer.facts()["speaks"] == kinds.split()
    for kind in set(forms.PATHS) - set(kinds.split()):
        status, told = answer(scorer, kind, {})
        assert (status, told["error"]["code"]) == (404, "unsupported")
        assert all(forms.PATHS[one] in told["error"]["message"] for one in kinds.split())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("hi", "hi"),
        (["hi"], "hi"),
        ({"role": "assistant", "content": "hi"}, "hi"),
        ([{"content": [{"type": "text", "text": "hi"}]}], "hi"),
        ({"choices": [{"message": {"content": "hi"}}]}, "hi"),
        ({"messages": [{"role": "assistant", "content": "hi"}, {"role": "tool", "content": "no"}]}, "hi"),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]}, "hi"),
        (np.array(["hi"]), "hi"),
        (pd.DataFrame({"content": ["hi"]}), "hi"),
        ({"label": "pos"}, None),
        (["a", "b"], None),
        ({"choices": [{"text": "hi"}]}, None),
        ({"content": 7}, None),
        ({"messages": []}, None),
        (object(), None),
    ],
)  # fmt: skip
def test_an_answer_of_any_form_becomes_a_completion_and_a_response(raw: Any, text: str | None) -> None:
    scorer, _ = load(lambda _: raw, MESSAGES)
    for stream in (False, True):
        status, told = answer(scorer, "chat", {**HELLO, "stream": stream})
        if text is None:
            assert (status, told["error"]["code"]) == (500, "model_error")
        else:
            assert (said(told) if not stream else told[0]["choices"][0]["delta"]["content"]) == text
    status, told = answer(scorer, "responses", {"input": "hello"})
    if text is None:
        assert (status, told["error"]["type"]) == (500, "server_error")
    else:
        assert told["output"][0]["content"][0]["text"] == text


def test_an_agent_that_calls_its_own_tools_tells_the_end() -> None:
    scorer, _ = load(
        wrapped(chat_agent._ChatAgentPyfuncWrapper, Clerk()),
        CHAT_AGENT_INPUT_SCHEMA,
        loader="mlflow.pyfunc.loaders.chat_agent",
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{}]}}}]
    status, told = answer(scorer, "chat", {**HELLO, "temperature": 1, "tools": tools})
    assert (status, said(told), told["choices"][0]["finish_reason"]) == (200, "hello: 7", "stop")
    assert told["custom_outputs"]["given"] == {"temperature": 1, "tools": tools}
    _, events = answer(scorer, "chat", {**HELLO, "stream": True})
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "hello: 7"}
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [{"role": "assistant", "content": None, "tool_calls": [called], "refusal": None, "odd": 1}]
    history += [{"role": "tool", "tool_call_id": "c", "content": "7"}]
    assert answer(scorer, "chat", {"messages": [*HELLO["messages"], *history]})[0] == 200
    status, told = answer(scorer, "chat", {"messages": history[1:]})
    assert (status, "must be provided for tool messages" in told["error"]["message"]) == (400, True)


def test_an_agent_streams_calls_only_where_it_leaves_them_to_the_client() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"delta": {"id": "1", "role": "assistant", "tool_calls": [call]}}
    done = {"delta": {"id": "2", "role": "tool", "name": "f", "tool_call_id": "c", "content": "7"}}
    for chunks, reason in (([asked], "tool_calls"), ([asked, done], "stop")):
        scorer, _ = load(lambda _, chunks=chunks: chunks, CHAT_AGENT_INPUT_SCHEMA, streams=True)
        _, events = answer(scorer, "chat", {**HELLO, "stream": True})
        assert events[-1]["choices"][0]["finish_reason"] == reason
        assert any("tool_calls" in event["choices"][0]["delta"] for event in events) == (reason == "tool_calls")
        _, events = answer(scorer, "responses", {"input": "a", "stream": True})
        items = events[-1]["response"]["output"]
        assert [item["type"] for item in items] == (["function_call"] if reason == "tool_calls" else [])


def test_parts_of_calls_are_put_together_in_a_response() -> None:
    parts: list[Any] = [
        {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}},
        {"index": 0, "function": {"arguments": '": 1}'}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [part]}}]} for part in parts]
    scorer, _ = load(lambda _: chunks, MESSAGES, streams=True)
    _, events = answer(scorer, "responses", {"input": "a", "stream": True})
    (item,) = events[-1]["response"]["output"]
    assert (item["name"], item["call_id"], item["arguments"]) == ("f", "c", '{"a": 1}')
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    _, events = answer(scorer, "chat", {**HELLO, "stream": True})
    assert [event["choices"][0]["delta"].get("tool_calls") for event in events] == [[parts[0]], [parts[1]], None]


def test_a_responses_agent_says_what_it_has_against_a_request() -> None:
    wrapper = wrapped(responses_agent._ResponsesAgentPyfuncWrapper, Agent(), None)
    scorer, _ = load(wrapper, RESPONSES_AGENT_INPUT_SCHEMA, loader="mlflow.pyfunc.loaders.responses_agent")
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    _, told = answer(scorer, "responses", {"input": "a", "tools": [tool]})
    assert told["custom_outputs"]["tools"] == [tool]
    for body, param in (
        ({"input": "a", "temperature": "hot"}, "temperature"),
        ({"input": [{"type": "odd"}]}, "input.0"),
    ):
        status, told = answer(scorer, "responses", body)
        assert (status, told["error"]["param"][: len(param)]) == (400, param)


def test_a_failure_event_of_the_models_own_ends_the_stream_in_the_dialect() -> None:
    chunks = [
        {"type": "response.output_text.delta", "item_id": "1", "delta": "a"},
        {"type": "error", "message": "no more"},
    ]
    scorer, _ = load(lambda _: chunks, task="agent/v1/responses", streams=True)
    _, events = answer(scorer, "responses", {"input": "a", "stream": True})
    assert (events[-1]["type"], events[-1]["error"]["message"]) == ("error", "no more")
    _, events = answer(scorer, "chat", {**HELLO, "stream": True})
    assert [event["error"]["message"] for event in events[1:]] == ["no more"]
    assert events[0]["choices"][0]["delta"]["content"] == "a"


def test_a_type_hint_of_requests_or_messages_is_given_a_list() -> None:
    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    for element, given in ((message, HELLO["messages"]), (Object([Property("messages", Array(message))]), [HELLO])):
        scorer, impl = load(lambda _: ["hi"], Schema([ColSpec(element)]))
        scorer.model.metadata.signature._is_signature_from_type_hint = True
        assert said(answer(scorer, "chat", HELLO)[1]) == "hi"
        assert [*map(dict, impl.given[0])] == given


def test_a_conversation_goes_over_into_the_other_kind_and_back() -> None:
    scorer, impl = load(lambda _: "hi", task="llm/v1/chat")
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    image = {"type": "input_image", "image_url": "http://a"}
    items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, image]},
        {"type": "reasoning", "id": "r", "summary": []},
        call,
        {"type": "function_call_output", "call_id": "c", "output": "7"},
    ]
    tool = {"type": "function", "name": "f", "parameters": {}}
    body = {"input": items, "tools": [tool], "tool_choice": {"type": "function", "name": "f"}, "max_output_tokens": 9}
    assert answer(scorer, "responses", {**body, "instructions": "short"})[0] == 200
    chat = impl.given[0]
    function = {"name": "f", "arguments": "{}"}
    assert chat["messages"] == [
        {"role": "system", "content": "short"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "http://a"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "7", "name": "f"},
    ]  # fmt: skip
    other, impl = load(lambda _: "hi", task="agent/v1/responses")
    assert answer(other, "chat", chat)[0] == 200
    given = impl.given[0]
    assert given["input"][0] == {"type": "message", "role": "system", "content": "short"}
    assert given["input"][1]["content"] == items[0]["content"]
    assert given["input"][2] == {**call, "id": "c"}
    assert given["input"][3] == items[3]
    assert (given["tools"], given["tool_choice"]["name"], given["max_output_tokens"]) == ([tool], "f", 9)
    status, told = answer(scorer, "responses", {"input": [{"type": "computer_call"}]})
    assert (status, told["error"]["param"]) == (400, "input[0].type")


@pytest.mark.parametrize(
    ("raw", "vector"),
    [
        (np.array([[0.5, 2.0]], dtype="float32"), [0.5, 2.0]),
        ([[0.5, 2]], [0.5, 2]),
        (pd.DataFrame([[0.5, 2.0]]), [0.5, 2.0]),
        (pd.DataFrame({"v": [[0.5, 2.0]]}), [0.5, 2.0]),
        ({"data": [{"embedding": [0.5, 2.0]}], "usage": {"prompt_tokens": 4}}, [0.5, 2.0]),
        ([0.5, 2.0], None),
        (["a"], None),
        ([[0.5], [0.5]], None),
        ([[1e300]], [1e300]),
    ],
)
def test_vectors_of_any_form_are_sent(raw: Any, vector: list[float] | None) -> None:
    scorer, _ = load(lambda _: raw, Schema([ColSpec(DataType.string, "text")]), task="llm/v1/embeddings")
    status, told = answer(scorer, "embeddings", {"input": "a"})
    if vector is None:
        assert (status, told["error"]["code"]) == (500, "model_error")
        return
    assert told["data"] == [{"object": "embedding", "index": 0, "embedding": vector}]
    status, told = answer(scorer, "embeddings", {"input": ["a"], "encoding_format": "base64"})
    if max(vector) > 1e38:
        assert (status, "32 bits" in told["error"]["message"]) == (500, True)
    else:
        assert list(struct.unpack("<2f", base64.b64decode(told["data"][0]["embedding"]))) == vector


def test_params_of_the_signature_are_passed_and_others_left_out() -> None:
    params = [ParamSpec("max_new_tokens", DataType.long, 5), ParamSpec("temperature", DataType.double, 1.0)]
    scorer, impl = load(lambda frame: [{"generated_text": one} for one in frame["prompt"]], PROMPT, params=params)
    _, told = answer(scorer, "completions", {"prompt": ["a", "b"], "max_tokens": 7, "temperature": 0.5, "user": "u"})
    assert [choice["text"] for choice in told["choices"]] == ["a", "b"]
    assert impl.given[1] == {"max_new_tokens": 7, "temperature": 0.5}
    status, told = answer(scorer, "completions", {"prompt": "a", "temperature": "hot"})
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")


def test_a_model_that_takes_one_text_is_given_one() -> None:
    scorer, impl = load(lambda data: ["hi"] * len(data), loader="mlflow.openai", own_task="chat.completions")
    assert said(answer(scorer, "chat", HELLO)[1]) == "hi"
    assert list(np.ravel(impl.given[0])) == ["hello"]
    status, told = answer(scorer, "chat", {"messages": HELLO["messages"] * 2})
    assert (status, told["error"]["param"]) == (400, "messages")
