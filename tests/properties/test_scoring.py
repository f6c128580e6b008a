"""The scorer against MLflow's own scoring server, on generated requests: alone and in batches.

HEADRACE_DIFFERENTIAL_EXAMPLES says how many requests to try (100 unless set; the nightly run takes 10,000).
"""

import json
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from headrace_worker import scoring, wire
from headrace_worker.scoring.compare import Judge
from tests import scoring_corpus as corpus
from tests.properties import scoring_requests as generate

pytestmark = [
    corpus.needs_recordings,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(3600),  # the models may have to be built first; the nightly run takes long
]
EXAMPLES = int(os.environ.get("HEADRACE_DIFFERENTIAL_EXAMPLES", "100"))
# `raises` sleeps and exits when it is told to: it has tests of its own.
LABELS = sorted(
    {record["model"] for record in corpus.recordings()}.difference(
        {"raises", "raises_t2", "raises_exit", "config_override", "cols_nodetails"}
    )
)
relaxed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="HEADRACE_DIFFERENTIAL_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # MLflow traces agents into a database where it stands
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def mlflow_answer(scorer: scoring.Scorer, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    """What the scoring server answers: (status, body), the body of an error parsed; (500, None) for its defects."""
    oracle = scorer.oracle
    try:
        text = oracle.server.invocations(body, kind, scorer.model, oracle.input_schema).response
    except oracle.error_class as error:
        failure: Any = error
        return failure.get_http_status_code(), json.loads(failure.serialize_as_json())
    except Exception:  # noqa: BLE001 - whatever it is, FastAPI makes a bare 500 of it
        return 500, None
    return 200, text.encode()


def assert_same(scorer: scoring.Scorer, answer: wire.Answer, body: bytes, company: Sequence[wire.Answer] = ()) -> None:
    """`answer` is MLflow's, to the byte, or as near as the scorer's tolerance promises for one given in `company`."""
    status, content = mlflow_answer(scorer, body)
    if status >= 400 and answer.status == 200:  # refused by an accident: answered as the repaired request is
        found = scorer.second_try.repaired(body)
        assert found is not None, f"{body!r} -> {answer}, MLflow {status} {str(content)[:300]}"
        if found.nulls:  # there is no form in which MLflow itself takes them
            return
        status, content = mlflow_answer(scorer, found.request)
    note(f"{body!r} -> {answer.status} {answer.body[:300]!r}, MLflow {status} {str(content)[:300]}")
    if content is None:  # a defect: we may do better, and say so in JSON
        json.loads(answer.body)
        assert answer.status in (200, 400, 500)
        return
    assert answer.status == status
    if status == 200:
        judge = Judge(scorer.options.tolerance, [*company])
        assert answer.body == content or judge.near(answer._replace(body=content), answer)
        return
    got = without_trace(json.loads(answer.body))
    if got != without_trace(content):
        # MLflow refused it by an accident, and the model then failed on the repaired request: that is what is told.
        found = scorer.second_try.repaired(body)
        assert found is not None
        assert not found.nulls
        status, content = mlflow_answer(scorer, found.request)
        assert answer.status == status
    assert got == without_trace(content)


def without_trace(error: dict[str, Any]) -> dict[str, Any]:
    """An error, with the place in a traceback that it names left out, but not that it has one."""
    return {**error, "stack_trace": "stack_trace" in error}


@st.composite
def labelled(draw: st.DrawFn) -> tuple[str, bytes]:
    label = draw(st.sampled_from(LABELS))
    return label, draw(generate.bodies(label))


@relaxed
@given(labelled())
def test_a_generated_request_is_answered_as_mlflow_answers_it(case: tuple[str, bytes]) -> None:
    label, body = case
    scorer = corpus.scorer(label)
    for _ in range(2):  # the second time by the fast path, if the first has proved it
        (answer,) = corpus.score(scorer, [body])
        assert_same(scorer, answer, body)


@st.composite
def labelled_batch(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    label = draw(st.sampled_from(LABELS))
    batch = [generate.body(request) for request in draw(generate.alike(label))]
    if draw(st.integers(0, 3)) == 0:
        batch.insert(0, draw(generate.bodies(label)))
    return label, batch


@pytest.mark.parametrize("tolerance", [0, "auto"])
@relaxed
@given(case=labelled_batch())
def test_a_batch_is_answered_as_mlflow_answers_each_request(case: tuple[str, list[bytes]], tolerance: Any) -> None:
    label, batch = case
    scorer = corpus.scorer(label, tolerance=tolerance)
    answers = corpus.score(scorer, batch)
    for body, answer in zip(batch, answers, strict=True):
        assert_same(scorer, answer, body, answers)


@pytest.mark.parametrize("tolerance", [0, "auto"])
@pytest.mark.parametrize("label", LABELS)
@settings(
    max_examples=max(10, EXAMPLES // 25), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_merging_changes_no_answer_of_any_model(label: str, tolerance: Any, data: st.DataObject) -> None:
    batch = [generate.body(request) for request in data.draw(generate.alike(label))] * 2
    random.Random(len(batch)).shuffle(batch)
    alone = corpus.scorer(label, max_rows=1)  # it never merges
    together = corpus.fresh_scorer(label, max_rows=data.draw(st.sampled_from([2, 5, 256])), tolerance=tolerance)
    answers = corpus.score(together, batch)
    judge = Judge(tolerance, answers)
    for body, answer in zip(batch, answers, strict=True):
        (wanted,) = corpus.score(alone, [body])
        note(f"{body!r} -> {answer}, alone {wanted}")
        assert answer.status == wanted.status
        assert answer.rows == wanted.rows
        if answer.status == 200:
            assert answer.body == wanted.body or judge.near(wanted, answer)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    label=st.sampled_from(LABELS),
    media=st.sampled_from([b"application/json", b"text/csv", b"application/vnd.apache.parquet", b"", b'x;;="', None]),
    coding=st.sampled_from([b"", b"gzip", b"deflate", b"br, gzip"]),
    errors=st.sampled_from(["mlflow", "strict"]),
    body=st.binary(max_size=200) | st.sampled_from(LABELS).flatmap(generate.bodies),
)
def test_no_bytes_can_break_a_scorer(label: str, media: bytes | None, coding: bytes, errors: str, body: bytes) -> None:
    scorer = corpus.scorer(label, errors=errors)
    (answer,) = corpus.score(scorer, [body], wire.head(media, coding))
    assert 200 <= answer.status < 600
    if answer.status >= 400 and not (answer.status == 415 and errors == "mlflow"):
        assert "error_code" in json.loads(answer.body)
