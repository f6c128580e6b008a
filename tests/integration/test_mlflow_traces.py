"""Traces of real requests, as a real MLflow server has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from mlflow import MlflowClient
from mlflow.entities import Span, Trace

from tests.integration.mlflow_server import MlflowServer
from tests.integration.serving import JSON, Serving, ask, serving, until
from tests.ports import free_port

AGENT = Path(__file__).with_name("tracing_agent.py")
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
EXPERIMENT = "served"
SHARED_PORT = free_port()


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models") / "agent"
    saving = f"import mlflow; mlflow.pyfunc.save_model({str(where)!r}, python_model={str(AGENT)!r})"
    subprocess.run([sys.executable, "-c", saving], check=True, capture_output=True, timeout=120, cwd=where.parent)
    return where


def configured(tracking_uri: str, agent: Path, **telemetry: Any) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": tracking_uri},
        "admin": {"port": 0},
        "gateway": {"port": SHARED_PORT},
        "telemetry": telemetry,
        "models": {"agent": {"uri": str(agent), "port": 0, "environment": "local", "replicas": 1}},
    }


@pytest.fixture(scope="module")
def one(server: MlflowServer, agent: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = configured(server.uri, agent, mlflow_traces={"experiment": EXPERIMENT})
    with serving(tmp_path_factory.mktemp("mlflow-traces"), config) as running:
        yield running


def found(server: MlflowServer, request_id: str) -> Trace:
    """The trace that the request's id finds, once it is there with what the model has traced."""
    client = MlflowClient(server.uri)

    def look() -> Trace | None:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return None
        wanted = f"tag.`headrace.request_id` = '{request_id}'"
        traces = client.search_traces([experiment.experiment_id], filter_string=wanted)
        return traces[0] if traces and any(span.span_type == "AGENT" for span in traces[0].data.spans) else None

    trace: Trace = until(look, f"the trace of {request_id}", 60)
    return trace


def span(trace: Trace, name: str, *, span_type: str = "UNKNOWN") -> Span:
    (one,) = (span for span in trace.data.spans if (span.name, span.span_type) == (name, span_type))
    return one


def metric(one: Serving, name: str, **labels: str) -> float:
    """The value of a counter or gauge, 0 where it is not there."""
    text = ask(f"{one.admin}/metrics").body.decode()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


def test_a_request_and_what_its_model_traces_are_one_trace_its_id_finds(one: Serving, server: MlflowServer) -> None:
    url = one.url("agent")
    answer = ask(f"{url}/invocations", asking("hello"), headers={**JSON, "X-Request-Id": "whole"})
    assert answer.status == 200, answer.body
    trace = found(server, "whole")
    root = span(trace, "POST /invocations")
    batch, predict = span(trace, "batch"), span(trace, "predict")
    agent, tool = span(trace, "predict", span_type="AGENT"), span(trace, "look_up", span_type="TOOL")
    assert root.parent_id is None
    assert span(trace, "queue").parent_id == batch.parent_id == root.span_id
    assert (predict.parent_id, agent.parent_id, tool.parent_id) == (batch.span_id, predict.span_id, agent.span_id)
    assert (tool.inputs, tool.outputs) == ({"word": "hello"}, "HELLO")
    info = trace.info
    assert (info.client_request_id, info.state.value) == ("whole", "OK")
    assert {"headrace.model": "agent", "mlflow.traceName": "agent", "topic": "words"}.items() <= info.tags.items()
    assert "hello" in str(info.request_preview)
    assert "HELLO" in str(info.response_preview)
    for replica in one.processes("role=replica"):
        left = {path.name for path in Path(replica.cwd()).iterdir()}
        assert not left & {"mlflow.db", "mlruns"}, f"{replica.cwd()}: {left}"


@pytest.mark.parametrize(
    ("path", "more"), [("invocations", {}), ("v1/responses", {"model": "agent"})], ids=["mlflow", "openai"]
)
def test_a_stream_is_traced_to_its_end_and_one_that_fails_is_counted(
    one: Serving, server: MlflowServer, path: str, more: dict[str, Any]
) -> None:
    url = f"{one.url('agent')}/{path}"
    failed = metric(one, "headrace_model_errors_total", model="agent")
    stream = {**JSON, "Accept": "text/event-stream"}
    for number, text in enumerate(("some words", "some fail")):
        request_id = f"stream-{len(path)}-{number}"
        answer = ask(url, asking(text, stream=True, **more), headers={**stream, "X-Request-Id": request_id})
        assert b"SOME" in answer.body
        trace = found(server, request_id)
        agent = span(trace, "predict_stream", span_type="AGENT")
        assert agent.parent_id == span(trace, "predict").span_id
        tools = [span for span in trace.data.spans if span.span_type == "TOOL"]
        assert [tool.parent_id for tool in tools] == [agent.span_id] * 2
        assert trace.info.state.value == ("ERROR" if number else "OK")
    until(lambda: metric(one, "headrace_model_errors_total", model="agent") == failed + 1, "the failure to be counted")


def test_a_caller_s_trace_is_joined_by_all_of_its_requests_or_not_traced(one: Serving, server: MlflowServer) -> None:
    url, (trace_id, parent) = f"{one.url('agent')}/invocations", CALLER
    ask(url, asking("no"), headers={**JSON, "X-Request-Id": "no", "traceparent": f"00-{'1' * 32}-{parent}-00"})
    for request_id in ("first", "second"):
        headers = {**JSON, "X-Request-Id": request_id, "traceparent": f"00-{trace_id}-{parent}-01"}
        assert ask(url, asking(request_id), headers=headers).status == 200
    client = MlflowClient(server.uri)
    wanted = "tag.`headrace.request.second` = 'agent' AND tag.`headrace.request.first` = 'agent'"

    def look() -> Trace | None:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        traces = client.search_traces([experiment.experiment_id], filter_string=wanted) if experiment else []
        spans = [span for trace in traces for span in trace.data.spans if span.span_type == "AGENT"]
        return traces[0] if len(spans) == 2 else None

    trace = until(look, "the caller's trace", 60)
    assert trace.info.trace_id == f"tr-{trace_id}"
    assert {one.parent_id for one in trace.data.spans if one.name == "POST /invocations"} == {parent}
    assert "no" not in str([tag for tag in trace.info.tags if tag.startswith("headrace.request.")])
    with pytest.raises(Exception, match="not found"):
        client.get_trace(f"tr-{'1' * 32}", display=False)


def feedback(url: str, **body: Any) -> tuple[int, Any]:
    answer = ask(f"{url}/feedback", body, headers=JSON)
    return answer.status, answer.json


def test_feedback_is_an_assessment_on_the_trace_of_its_request(one: Serving, server: MlflowServer) -> None:
    url, (trace_id, parent) = one.url("agent"), ("2" * 32, CALLER[1])
    joined = {"traceparent": f"00-{trace_id}-{parent}-01"}
    for request_id, headers in (("liked", {}), ("joined", joined)):
        ask(f"{url}/invocations", asking("hello"), headers={**JSON, "X-Request-Id": request_id, **headers})
    source = {"source_type": "LLM_JUDGE", "source_id": "judge-1"}
    status, told = feedback(url, request_id="liked", name="helpful", value=True, source="ana", comment="quick")
    assert status == 200, told
    assert feedback(url, trace_id=told["trace_id"], name="score", value={"a": 0.5}, source=source)[0] == 200
    assert feedback(url, request_id="joined", value=["good", 3]) == (
        200,
        {"trace_id": f"tr-{trace_id}", "assessment_id": ANY},
    )
    trace = MlflowClient(server.uri).get_trace(told["trace_id"], display=False)
    found = {one.name: one for one in trace.info.assessments}
    helpful, score = found["helpful"], found["score"]
    assert (helpful.feedback.value, helpful.rationale, helpful.assessment_id) == (True, "quick", told["assessment_id"])
    assert (helpful.source.source_type, helpful.source.source_id) == ("HUMAN", "ana")
    assert (score.feedback.value, score.source.source_type) == ({"a": 0.5}, "LLM_JUDGE")
    assert metric(one, "headrace_requests_total", route="feedback", model="agent", status="200") == 3


@pytest.mark.slow  # a trace is looked for during seconds; test_feedback.py has what is read
@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"request_id": "never", "value": 1}, 404, "no trace of a request 'never' for model 'agent'"),
        ({"request_id": "a'b", "value": 1}, 404, "no trace of a request"),
        ({"trace_id": "3" * 32, "value": 1}, 404, "not sampled"),
        ({"value": 1}, 400, "either request_id"),
        ({"request_id": "a"}, 400, "value"),
        ({"request_id": "a", "value": None}, 400, "value"),
        ({"request_id": "a", "value": 1, "rating": 2}, 400, "rating"),
        ({"request_id": "a", "value": 1, "source": {"source_type": "CAT"}}, 400, "CAT"),
        ({"request_id": "a", "value": 1, "model": "other"}, 400, "is about 'agent'"),
        ({"request_id": "a", "value": "x" * 70_000}, 400, "65536"),
    ],
)
def test_feedback_that_cannot_be_given_says_why(one: Serving, body: dict[str, Any], status: int, why: str) -> None:
    found, told = feedback(one.url("agent"), **body)
    assert (found, why in told["message"]) == (status, True), told


@pytest.mark.slow  # as above
@pytest.mark.usefixtures("one")
def test_feedback_on_the_shared_port_says_which_model() -> None:
    shared = f"http://127.0.0.1:{SHARED_PORT}"
    assert feedback(shared, request_id="a", value=1)[0] == 400
    assert feedback(shared, request_id="a", value=1, model="other")[0] == 404
    assert feedback(f"{shared}/models/agent", request_id="never", value=1)[0] == 404


@pytest.mark.slow  # the server starts anew; test_mlflow_writer.py has what becomes of traces meanwhile
def test_while_the_server_is_away_answers_go_on_and_traces_wait(one: Serving, server: MlflowServer) -> None:
    url = f"{one.url('agent')}/invocations"
    after = len(one.events)
    server.kill()
    try:
        assert ask(url, asking("away"), headers={**JSON, "X-Request-Id": "away"}).status == 200
        told = one.event("traces not kept by MLflow", after=after)
        assert told["kept"] == "all serving, traces while there is room"
        assert metric(one, "headrace_mlflow_traces_up") == 0
        status, told = feedback(one.url("agent"), request_id="away", value=1)
        assert (status, "send it again" in told["message"]) == (503, True)
        assert ask(url, asking("still"), headers={**JSON, "X-Request-Id": "still"}).status == 200
    finally:
        server.start()
    one.event("traces are kept by MLflow again", after=after)
    for request_id in ("away", "still"):
        found(server, request_id)
    assert metric(one, "headrace_mlflow_traces_up") == 1
    assert metric(one, "headrace_records_total", log="mlflow_trace", result="failed") == 0
