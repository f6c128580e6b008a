"""OpenAI's dialect against a real server and real models, judged by OpenAI's own client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.integration.serving import Serving, ask, serving, until
from tests.integration.test_inference_judges import environment
from tests.ports import free_port

RIG = Path(__file__).parents[1] / "openai_rig"
LANGCHAIN = ["langchain-openai==1.7.4"]
MODELS = ("parrot", "agent", "lengths", "shouts")
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "description": "looks", "parameters": PARAMETERS}}
USAGE = (3, 2, 5)


@pytest.fixture(scope="module")
def shared() -> str:
    """The shared port."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def one(shared: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    directory = tmp_path_factory.mktemp("openai")
    tracking = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
    subprocess.run([sys.executable, RIG / "models.py", directory], check=True, capture_output=True, env=tracking)
    models = {name: {"uri": str(directory / name), "environment": "local", "port": 0} for name in MODELS}
    document = {"admin": {"port": 0}, "gateway": {"port": urlsplit(shared).port}, "models": models}
    with serving(directory, document, environ=tracking) as started:
        for name in MODELS:
            started.url(name)
        yield started


@pytest.fixture(scope="module")
def clients(one: Serving, shared: str) -> Iterator[dict[str, Any]]:
    """Clients of the shared port, and of a model's own port and its place on the shared one, where 'x' will do."""
    bases = {"shared": shared, "own": one.url("parrot"), "below": f"{shared}/models/parrot"}
    with contextlib.ExitStack() as made:
        yield {
            name: made.enter_context(openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0))
            for name, base in bases.items()
        }


@pytest.fixture(scope="module")
def client(clients: dict[str, Any]) -> Any:
    return clients["shared"]


def say(text: str, *before: dict[str, Any]) -> list[dict[str, Any]]:
    return [*before, {"role": "user", "content": text}]


def metric(one: Serving, name: str, *labels: str) -> float:
    lines = ask(f"{one.admin}/metrics").body.decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{") and all(x in line for x in labels)
    )


def test_a_chat_is_answered_on_every_port(clients: dict[str, Any]) -> None:
    for name, asker in clients.items():
        model = "parrot" if name == "shared" else "x"
        messages = say("hello", {"role": "system", "content": [{"type": "text", "text": "be short"}]})
        answer = asker.chat.completions.create(model=model, messages=messages, temperature=1, seed=7)
        (choice,) = answer.choices
        assert (choice.message.content, choice.message.role, choice.finish_reason) == ("hello", "assistant", "stop")
        assert (answer.model, answer.object, answer.id[:9]) == ("parrot", "chat.completion", "chatcmpl-")
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == USAGE
        assert answer.custom_outputs == {"messages": 2, "temperature": 1.0, "custom": {"seed": 7}}


def test_a_chat_streams(clients: dict[str, Any]) -> None:
    for name, asker in clients.items():
        asked = {"model": "parrot" if name == "shared" else "x", "messages": say("a b c"), "stream": True}
        chunks = list(asker.chat.completions.create(**asked, stream_options={"include_usage": True}))
        assert [chunk.choices[0].delta.content for chunk in chunks[:3]] == ["a", " b", " c"]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert (chunks[3].choices[0].finish_reason, chunks[4].usage.total_tokens, len(chunks)) == ("stop", 5, 5)
        assert len({chunk.id for chunk in chunks}) == 1
        assert all(chunk.usage is None for chunk in asker.chat.completions.create(**asked))


@pytest.mark.usefixtures("one")
def test_many_stream_at_once(shared: str) -> None:

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{shared}/v1", api_key="none", max_retries=0) as asker:

            async def one_of_them(number: int) -> str:
                model = ("parrot", "agent")[number % 2]
                messages: Any = say(f"number {number} said")
                chunks = await asker.chat.completions.create(model=model, messages=messages, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]).strip()

            return await asyncio.gather(*map(one_of_them, range(20)))

    assert asyncio.run(all_of_them()) == [f"number {number} said" for number in range(20)]


@pytest.mark.parametrize("model", ["parrot", "agent"])
def test_tools_are_passed_through(client: Any, model: str) -> None:
    tools = [TOOL]
    messages = say("look there")
    asked = {"model": model, "messages": messages, "tools": tools}
    (call,) = client.chat.completions.create(**asked).choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "look", "{}")
    if model == "agent":
        (part,) = next(iter(client.chat.completions.create(**asked, stream=True))).choices[0].delta.tool_calls
        assert part.model_dump(exclude={"index"}) == call.model_dump()
    result = {"role": "tool", "tool_call_id": "call_1", "content": "seen it"}
    called = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    answer = client.chat.completions.create(model=model, messages=[*messages, called, result])
    assert answer.choices[0].message.content.strip() == "seen it"
    assert answer.choices[0].finish_reason == "stop"


def test_a_response_is_given_and_streamed(client: Any) -> None:
    for model in ("agent", "parrot"):
        made = client.responses.create(model=model, instructions="be short", input="hello you")
        assert (made.output_text.strip(), made.status, made.object, made.model) == (
            "hello you",
            "completed",
            "response",
            model,
        )
        items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "a b"}]}]
        with client.responses.stream(model=model, input=items) as events:
            kinds = [event.type for event in events]
            final = events.get_final_response()
        assert final.output_text.split() == ["a", "b"]
        assert kinds == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    tool: Any = {**TOOL["function"], "type": "function"}  # type: ignore[dict-item]
    made = client.responses.create(model="agent", input="look", tools=[tool])
    (call,) = made.output
    assert (call.type, call.name, call.call_id) == ("function_call", "look", "call_1")
    assert made.custom_outputs["tools"][0]["description"] == "looks"
    back = [
        {"role": "user", "content": "look"},
        call.model_dump(),
        {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
    ]
    assert client.responses.create(model="agent", input=back).output_text.strip() == "seen"


def test_texts_are_embedded(client: Any, one: Serving) -> None:
    whole = ask(f"{one.url('lengths')}/invocations", {"instances": ["a", "four"]}).json["predictions"]
    for coding in (openai.omit, "float", "base64"):
        made = client.embeddings.create(model="lengths", input=["a", "four"], encoding_format=coding)
        assert (made.object, made.model, [one.index for one in made.data]) == ("list", "lengths", [0, 1])
        if coding != "base64":
            assert [one.embedding for one in made.data] == [pytest.approx(vector) for vector in whole]
    raw = ask(f"{one.url('lengths')}/v1/embeddings", {"input": "four", "encoding_format": "base64"}).json
    assert raw["data"][0]["embedding"] == "AACAQM3MzD0="


def test_prompts_are_completed(client: Any) -> None:
    made = client.completions.create(model="shouts", prompt=["a", "b"], max_tokens=5)
    assert [choice.text for choice in made.choices] == ["A", "B"]
    (chunk,) = client.completions.create(model="shouts", prompt="a", stream=True)
    assert chunk.choices[0].text == "A"


def test_models_are_listed_and_described(client: Any, shared: str) -> None:
    assert [model.id for model in client.models.list()] == sorted(MODELS)
    for model, paths in (("agent", {"/v1/chat/completions", "/v1/responses"}), ("lengths", {"/v1/embeddings"})):
        document = ask(f"{shared}/models/{model}/openapi.json").json
        assert {path for path in document["paths"] if not path.startswith("/v1/models")} >= paths


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("chat/completions", {"messages": []}, 400, "messages"),
        ("chat/completions", {"messages": [{"role": "robot", "content": "a"}]}, 400, "messages[0].role"),
        ("chat/completions", {"messages": say("a"), "n": 2}, 400, "n"),
        ("chat/completions", {"messages": say("a"), "tools": [{"type": "magic"}]}, 400, "tools[0].type"),
        ("chat/completions", {"messages": say("a"), "modalities": ["audio"]}, 400, "modalities"),
        ("chat/completions", {"messages": say("a"), "stream": True, "stream_options": 1}, 400, "stream_options"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            400,
            "messages[0].content[0].type",
        ),
        (
            "chat/completions",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:a;base64,?"}}]}
                ]
            },
            400,
            "messages[0].content[0].image_url.url",
        ),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a"}}]}]},
            400,
            "messages[0].content[0].type",
        ),
        ("chat/completions", {"messages": [{"role": "tool", "content": "a"}]}, 400, "messages[0].tool_call_id"),
        ("chat/completions", {"messages": say("fail")}, 500, None),
        ("responses", {"input": []}, 400, "input"),
        ("responses", {"input": "a", "previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ("embeddings", {"input": "a"}, 404, None),
        ("images/generations", {"prompt": "a"}, 404, None),
    ],
)
def test_errors_have_the_dialects_form(one: Serving, path: str, body: dict[str, Any], status: int, param: str) -> None:
    answer = ask(f"{one.url('parrot')}/v1/{path}", body)
    assert answer.status == status, answer
    (error,) = answer.json.values()
    assert (sorted(error), error["param"]) == (["code", "message", "param", "type"], param)
    assert error["type"] == ("server_error" if status == 500 else "invalid_request_error")


def test_a_model_says_what_it_can_do_instead(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match=re.escape("it answers /v1/embeddings, /invocations")):
        client.chat.completions.create(model="lengths", messages=say("a"))
    with pytest.raises(openai.BadRequestError, match="Tokens are not taken here") as caught:
        client.embeddings.create(model="lengths", input=[1, 2])
    assert caught.value.param == "input[0]"
    with pytest.raises(openai.BadRequestError, match="encoding_format"):
        client.embeddings.create(model="lengths", input="a", encoding_format="hex")


def test_a_stream_that_fails_says_so_in_the_dialect(client: Any) -> None:
    for model in ("parrot", "agent"):
        chunks = iter(client.chat.completions.create(model=model, messages=say("a break"), stream=True))
        assert next(chunks).choices[0].delta.content.strip() == "a"
        with pytest.raises(openai.APIError, match="told to break") as caught:
            next(chunks)
        assert caught.value.code == "model_error"
    with pytest.raises(openai.APIError, match="told to break"):
        list(client.responses.create(model="agent", input="a break", stream=True))


def test_a_client_that_stops_reading_holds_up_nobody(client: Any, one: Serving) -> None:
    """Its stream is parked, and ends when it goes; others are answered meanwhile."""
    with client.chat.completions.create(model="parrot", messages=say("forever"), stream=True) as chunks:
        next(iter(chunks))
        until(lambda: metric(one, "headrace_streams_open", 'model="parrot"', 'state="parked"'), "the stream is parked")
        assert client.chat.completions.create(model="parrot", messages=say("b")).choices[0].message.content == "b"
    until(lambda: not metric(one, "headrace_streams_open", 'model="parrot"'), "the stream is over")


def test_a_long_history_is_taken(client: Any) -> None:
    history = say("last", *({"role": "user", "content": "and so on"} for _ in range(5000)))
    answer = client.chat.completions.create(model="parrot", messages=history)
    assert answer.custom_outputs["messages"] == 5001


def test_what_is_spoken_is_counted(client: Any, one: Serving) -> None:
    labels = ('model="parrot"', 'protocol="openai"')
    before = metric(one, "headrace_protocol_requests_total", *labels)
    client.chat.completions.create(model="parrot", messages=say("a"))
    assert metric(one, "headrace_protocol_requests_total", *labels) == before + 1


def test_requests_to_embed_share_calls(one: Serving) -> None:
    """Requests that wait while a worker is busy are answered by one call, as those to /invocations are."""
    before = metric(one, "headrace_predicts_total", 'model="lengths"')
    body = json.dumps({"input": "four"})
    parts = urlsplit(one.url("lengths"))
    request = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as raw:
        for _ in range(5):  # the first are scored alone as well, until merging is believed
            raw.sendall(request * 64)
            received = b""
            while received.count(b'"object": "embedding"') < 64:
                received += raw.recv(1 << 16)
    assert metric(one, "headrace_predicts_total", 'model="lengths"') < before + 5 * 64


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one")
def test_langchain_is_content(shared: str, tmp_path: Path) -> None:
    programs = environment(tmp_path / "langchain", LANGCHAIN)
    done = subprocess.run(
        [programs / "python", RIG / "chains.py", shared], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
