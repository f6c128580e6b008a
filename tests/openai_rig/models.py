"""Models for tests of OpenAI's dialect, as their authors write them: python models.py DIRECTORY saves each there.

What they are told decides what they do: see `Parrot`.
"""

# mypy: ignore-errors
# MLflow's agents have other parameters than the class that they are derived from.

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import ChatAgent, ChatModel, ResponsesAgent
from mlflow.types.agent import ChatAgentMessage, ChatAgentResponse, ChatContext
from mlflow.types.llm import ChatCompletionChunk, ChatCompletionResponse, ChatMessage, ChatParams
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def act(text: str) -> None:
    """What the last message has a model do, beside repeating it."""
    if text == "fail":
        raise ValueError("told to fail")
    if text.startswith("sleep "):
        time.sleep(float(text.split()[1]))


class Parrot(ChatModel):
    """Repeats the last message; tells in `custom_outputs` what it was given."""

    def predict(self, context: Any, messages: list[ChatMessage], params: ChatParams) -> ChatCompletionResponse:
        del context
        act(str(messages[-1].content))
        message: dict[str, Any] = {"role": "assistant", "content": str(messages[-1].content)}
        if params.tools:
            call = {
                "id": "call_1",
                "type": "function",
                "function": {"name": params.tools[0].function.name, "arguments": "{}"},
            }
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        told = {"messages": len(messages), "temperature": params.temperature, "custom": params.custom_inputs}
        choice: Any = {"index": 0, "message": message}
        return ChatCompletionResponse.from_dict({"choices": [choice], "usage": USAGE, "custom_outputs": told})

    def predict_stream(self, context: Any, messages: list[ChatMessage], params: ChatParams) -> Iterator[Any]:
        del context, params
        text = str(messages[-1].content)
        for place, word in enumerate(text.split()):
            if word == "break":
                raise ValueError("told to break")
            if word == "forever":
                while True:
                    yield chunk("again " * 1000)
            yield chunk(word if place == 0 else f" {word}")
        yield ChatCompletionChunk.from_dict({"choices": [], "usage": USAGE})


def chunk(text: str) -> ChatCompletionChunk:
    return ChatCompletionChunk.from_dict({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]})


class Clerk(ChatAgent):
    """Calls a tool of its own before it answers; has no streams."""

    def predict(
        self, messages: list[ChatAgentMessage], context: ChatContext | None = None, custom_inputs: Any = None
    ) -> ChatAgentResponse:
        del context
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        said: list[Any] = [
            {"id": "1", "role": "assistant", "tool_calls": [call]},
            {"id": "2", "role": "tool", "name": "look", "tool_call_id": "c1", "content": "7"},
            {"id": "3", "role": "assistant", "content": f"{messages[-1].content}: 7"},
        ]
        return ChatAgentResponse(messages=said, custom_outputs={"given": custom_inputs}, usage=USAGE)


class Agent(ResponsesAgent):
    """Repeats the last message; calls the first tool that it is given, if any."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        items = [event.item for event in self.predict_stream(request) if event.type == "response.output_item.done"]
        tools = [tool.model_dump() for tool in request.tools or ()]
        return ResponsesAgentResponse(output=items, custom_outputs={"items": len(request.input), "tools": tools})

    def predict_stream(self, request: ResponsesAgentRequest) -> Iterator[ResponsesAgentStreamEvent]:
        last = request.input[-1]
        text = getattr(last, "content", None) or getattr(last, "output", None) or ""
        text = text if isinstance(text, str) else "".join(part.text for part in text)
        act(text)
        if request.tools and last.type == "message":
            call = self.create_function_call_item("fc_1", "call_1", request.tools[0].name, "{}")
            yield ResponsesAgentStreamEvent(type="response.output_item.done", item=call)
            return
        for word in text.split():
            if word == "break":
                raise ValueError("told to break")
            yield ResponsesAgentStreamEvent(**self.create_text_delta(delta=f"{word} ", item_id="msg_1"))
        item = self.create_text_output_item("".join(f"{word} " for word in text.split()), "msg_1")
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)


class Lengths(mlflow.pyfunc.PythonModel):
    """A text's vector: its length, and a number that 32 bits do not hold."""

    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201 - MLflow goes by hints
        del context, params
        texts = model_input.iloc[:, 0].tolist()
        return [[float(len(text)), 0.1] for text in texts]


class Shouts(mlflow.pyfunc.PythonModel):
    """Completes a prompt."""

    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201 - MLflow goes by hints
        del context, params
        return [text.upper() for text in model_input["prompt"]]


def main(directory: Path) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    one: dict[str, Any] = {"pip_requirements": []}
    for name, model in (("parrot", Parrot()), ("clerk", Clerk()), ("agent", Agent())):
        mlflow.pyfunc.save_model(str(directory / name), python_model=model, **one)
    text = ModelSignature(Schema([ColSpec("string", "text")]))
    task = {"task": "llm/v1/embeddings"}
    mlflow.pyfunc.save_model(str(directory / "lengths"), python_model=Lengths(), signature=text, metadata=task, **one)
    prompt = ModelSignature(Schema([ColSpec("string", "prompt")]))
    mlflow.pyfunc.save_model(str(directory / "shouts"), python_model=Shouts(), signature=prompt, **one)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
