"""Traces for MLflow: into a real store, and held, within bounds, while there is none."""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from headrace.core.protocol.records import MLFLOW, MlflowTraces, ModelSpans, Record, Trace
from headrace.recorder.mlflow_store import TraceStore
from headrace.recorder.mlflow_writer import MlflowWriter
from tests.unit.recorder.records import record

PREDICT = b"p" * 8

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's, of its own packages


def traced(number: int, **changes: Any) -> Record:
    trace = Trace(bytes([number + 1]) * 16, bytes([number + 1]) * 8, predict=PREDICT)
    return record(number, **{"wanted_by": MLFLOW, "trace": trace, **changes})


def told(*numbers: int, lost: int = 0, **changes: Any) -> ModelSpans:
    """What a model has traced for these requests together: one span with one below it."""
    base = {"begin_ns": 1, "end_ns": 2, "status": 1, "description": "", "attributes": {}, "events": [], **changes}
    top = {**base, "name": "agent", "span": "aa" * 8, "parent": PREDICT.hex()}
    top["attributes"] = {"mlflow.spanInputs": '{"q": 1}', "mlflow.spanOutputs": '"a"', **top["attributes"]}
    tool = {**base, "name": "tool", "span": "bb" * 8, "parent": "aa" * 8}
    said = {"spans": [top, tool], "lost": lost, "tags": {"topic": "t"}, "metadata": {"mlflow.trace.session": "s"}}
    return ModelSpans([bytes([n + 1]) * 16 + PREDICT for n in numbers], json.dumps(said).encode())


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MlflowClient(uri).search_experiments()  # makes the file
    return uri


@pytest.fixture
def nobody() -> Iterator[str]:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def __call__(self, _level: str, event: str, **_fields: object) -> None:
        self.events.append(event)


def test_what_requests_of_one_frame_share_is_in_the_trace_of_each(uri: str) -> None:
    log = Log()
    writer = MlflowWriter(TraceStore(MlflowTraces(experiment="shared", tracking_uri=uri)), log)
    writer.take_spans([told(0, 1, lost=3)])
    assert writer.write([traced(0), traced(1, status=500)]) == 0
    assert writer.held == 2
    assert (writer.close(), writer.held, log.events) == (2, 0, [])
    assert writer.spans == {"written": 2, "failed": 0, "dropped": 0, "cut": 3}
    client = MlflowClient(uri)
    for number, state in ((0, "OK"), (1, "ERROR")):
        trace = client.get_trace(f"tr-{bytes([number + 1]).hex() * 16}", display=False)
        by_name = {span.name: span for span in trace.data.spans}
        assert by_name["tool"].parent_id == by_name["agent"].span_id
        assert by_name["agent"].parent_id == by_name["predict"].span_id == PREDICT.hex()
        assert trace.info.state.value == state
        assert (trace.info.request_preview, trace.info.response_preview) == ('{"q": 1}', '"a"')
        assert trace.info.client_request_id == f"r-{number}"
        assert {"headrace.request_id": f"r-{number}", "headrace.model": "topic", "topic": "t"}.items() <= (
            trace.info.tags.items()
        )
        assert trace.info.trace_metadata["mlflow.trace.session"] == "s"


def test_a_caller_s_trace_that_is_there_keeps_what_the_caller_said_of_it(uri: str) -> None:
    writer = MlflowWriter(TraceStore(MlflowTraces(experiment="joined", tracking_uri=uri)), Log())
    caller = Trace(b"c" * 16, b"1" * 8, predict=PREDICT)
    writer.write([traced(0, trace=caller)])  # the caller's own span: it is written down first
    assert writer.close() == 1
    for number, span in ((1, b"2" * 8), (2, b"3" * 8)):
        writer.write([traced(number, trace=Trace(b"c" * 16, span, parent=b"1" * 8, predict=b"x" + span[1:]))])
        assert writer.close() == 1
    trace = MlflowClient(uri).get_trace(f"tr-{b'c'.hex() * 16}", display=False)
    assert trace.info.tags["headrace.request_id"] == trace.info.client_request_id == "r-0"
    assert {name: tag for name, tag in trace.info.tags.items() if name.startswith("headrace.request.")} == {
        "headrace.request.r-1": "topic",
        "headrace.request.r-2": "topic",
    }


@pytest.mark.parametrize(
    "parents",
    [{"aa" * 8: "aa" * 8}, {"aa" * 8: "bb" * 8, "bb" * 8: "aa" * 8}, {PREDICT.hex(): PREDICT.hex()}],
    ids=["itself", "two", "predict"],
)
def test_spans_that_are_below_themselves_are_not_given_to_mlflow(parents: dict[str, str]) -> None:
    """It would look for their top for ever."""
    base = {"name": "a", "begin_ns": 1, "end_ns": 2, "status": 1, "description": "", "attributes": {}, "events": []}
    spans = [{**base, "span": span, "parent": parent} for span, parent in parents.items()]
    nowhere = TraceStore(MlflowTraces(experiment="round", tracking_uri="sqlite:////nonexistent/no.db"))
    writer = MlflowWriter(nowhere, Log())
    writer.take_spans([ModelSpans([bytes(16) + PREDICT], json.dumps({"spans": spans}).encode())])
    writer.close()
    assert writer.spans["failed"] == 1


@pytest.mark.parametrize(
    "odd",
    [b"", b"{", b"[]", b'{"spans": 1}', b'{"spans": [{}]}', b'{"spans": [{"span": "zz"}]}', b'{"lost": "x"}'],
)
def test_what_a_worker_says_that_cannot_be_read_costs_nobody_else_a_span(uri: str, odd: bytes) -> None:
    writer = MlflowWriter(TraceStore(MlflowTraces(experiment="odd", tracking_uri=uri)), Log())
    writer.take_spans([ModelSpans([b"o" * 24], odd), told(3)])
    writer.write([traced(3)])
    assert (writer.close(), writer.spans["failed"], writer.spans["written"]) == (1, 1, 2)


def test_while_mlflow_is_away_what_there_is_room_for_is_held_and_the_rest_is_counted(nobody: str, uri: str) -> None:
    log = Log()
    store = TraceStore(MlflowTraces(experiment="away", tracking_uri=nobody))
    writer = MlflowWriter(store, log, most_bytes=16_384)
    for number in range(10):
        writer.take_spans([told(number, attributes={"long": "x" * 2000})])
        writer.write([traced(number)])
    assert (writer.held, writer.spans["dropped"]) == (4, 7)
    assert (writer.close(), writer.close(), writer.held) == (0, 0, 4)
    assert writer.is_away
    assert log.events == ["traces not kept by MLflow"]
    there = MlflowWriter(TraceStore(MlflowTraces(experiment="away", tracking_uri=uri)), log)
    there._records, there._models, there._pause_s = writer._records, writer._models, writer._pause_s
    assert (there.close(), there.held, there.is_away) == (4, 0, False)
    assert log.events == ["traces not kept by MLflow", "traces are kept by MLflow again"]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    log = Log()
    uri = f"sqlite:///{tmp_path / 'no.db'}"
    writer = MlflowWriter(TraceStore(MlflowTraces(experiment="none", tracking_uri=uri)), log)
    writer.write([traced(0)])
    assert (writer.close(), log.events) == (0, ["traces not kept by MLflow"])
    assert list(tmp_path.iterdir()) == []
