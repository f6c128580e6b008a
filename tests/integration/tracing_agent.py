"""An agent that traces what it does, as its author writes it: its tool is a span below its own."""

# mypy: ignore-errors

import uuid
from collections.abc import Iterator

import mlflow
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent


@mlflow.trace(span_type="TOOL")
def look_up(word: str) -> str:
    """What a tool would find."""
    if word == "fail":
        raise ValueError("told to fail")
    return word.upper()


class Agent(ResponsesAgent):
    """Answers with what its tool makes of the last message."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        text = look_up(str(request.input[-1].content))
        mlflow.update_current_trace(tags={"topic": "words"})
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=text, id=uuid.uuid4().hex)])

    def predict_stream(self, request: ResponsesAgentRequest) -> Iterator[ResponsesAgentStreamEvent]:
        for word in str(request.input[-1].content).split():
            item = self.create_text_output_item(text=look_up(word), id=uuid.uuid4().hex)
            yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)


mlflow.models.set_model(Agent())
