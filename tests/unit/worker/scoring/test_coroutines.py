"""Models that are coroutines."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import pytest
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel

from headrace_worker import scoring, wire
from headrace_worker.scoring.streaming import ToldInStream
from tests.unit.worker.models import TEXT, ask, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_coroutine_is_awaited_on_one_loop() -> None:
    loops = []

    async def later(data: Any, _params: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return list(data["text"])

    scorer, _ = load(later, TEXT)
    for text in ("a", "b"):
        assert predictions(ask(scorer, {"dataframe_records": [{"text": text}]})[0]) == [text]
    assert len(set(map(id, loops))) == 1


@pytest.mark.parametrize("raised", [ValueError("why"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_coroutine_that_fails_ends_nothing_else(raised: BaseException) -> None:
    async def fail(data: Any, _params: Any) -> Any:
        if list(data["text"]) == ["fail"]:
            raise raised
        return list(data["text"])

    scorer, _ = load(fail, TEXT)
    answer = ask(scorer, {"dataframe_records": [{"text": "fail"}]})[0]
    assert answer.status in {400, 500}
    assert predictions(ask(scorer, {"dataframe_records": [{"text": "a"}]})[0]) == ["a"]


class AsyncStream(PythonModel):
    """Says when its generator ends. 'fail' raises after a piece, 'late' is a coroutine that gives a stream."""

    ended: ClassVar[list[str]] = []

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's
        return list(model_input["text"])

    async def predict_stream(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        task = asyncio.current_task()
        try:
            for number in range(3):
                await asyncio.sleep(0)
                assert asyncio.current_task() is task, "what it holds may belong to its task"
                yield f"{model_input['text']} {number}"
                if model_input["text"] == "fail":
                    raise ValueError("why")
        finally:
            await asyncio.sleep(0)
            self.ended.append(model_input["text"])


@pytest.fixture(scope="module")
def streaming_scorer(tmp_path_factory: pytest.TempPathFactory) -> scoring.Scorer:
    path = str(tmp_path_factory.mktemp("model") / "model")
    save_model(path, python_model=AsyncStream(), signature=ModelSignature(inputs=TEXT), pip_requirements=[])
    return scoring.load(path, scoring.ScoringOptions())


def stream(scorer: scoring.Scorer, text: str, column: str = "text") -> Any:
    body = json.dumps({"dataframe_records": [{column: text}]}).encode()
    return scorer.stream(wire.head(b"application/json", b"", b"text/event-stream"), memoryview(body))


def test_an_asynchronous_stream_is_one_like_others(streaming_scorer: scoring.Scorer) -> None:
    events = list(stream(streaming_scorer, "a"))
    assert events == [b'data: "a 0"\n\n', b'data: "a 1"\n\n', b'data: "a 2"\n\n', b"data: [DONE]\n\n"]
    assert AsyncStream.ended.pop() == "a"


def test_an_asynchronous_stream_that_nobody_reads_on_is_closed(streaming_scorer: scoring.Scorer) -> None:
    events = stream(streaming_scorer, "left")
    assert next(events) == b'data: "left 0"\n\n'
    events.close()
    assert AsyncStream.ended.pop() == "left"


def test_what_an_asynchronous_stream_raises_is_told_in_it(streaming_scorer: scoring.Scorer) -> None:
    events = stream(streaming_scorer, "fail")
    assert next(events) == b'data: "fail 0"\n\n'
    last = next(events)
    assert b"event: error" in last
    assert b"ValueError: why" in last
    with pytest.raises(ToldInStream):
        next(events)
    assert AsyncStream.ended.pop() == "fail"


def test_the_signature_is_enforced_before_an_asynchronous_stream(streaming_scorer: scoring.Scorer) -> None:
    answer = stream(streaming_scorer, "a", "another")
    assert isinstance(answer, wire.Answer)
    assert answer.status == 400
    assert not AsyncStream.ended
