"""Every recorded request to /invocations, in process: alone, in company, and in company with errors."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests import scoring_corpus as corpus

pytestmark = [
    corpus.needs_recordings,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),  # the models may have to be built first
]

# Defects of MLflow that are answered otherwise on purpose; docs/coming-from-mlflow.md has a line for each.
FIXED = {
    "http.no_ct",
    "http.ct_upper",
    "http.ct_charset_name_upper",
    "http.gzip_body",
    "iris.parquet_ints",
    "cols.csv_dt",
    "tensor.csv",
    "out.set",
    "out.np_key",
    "out.arr_complex",
    "out.arr_td",
    "out.df_multi",
    "out.index",
    "out.np_timedelta",
    "out.complex",
    "out.generator",
} | corpus.REPAIRED
# What a worker does not see: HTTP itself, and time.
GATEWAY = {"http.raw_garbage", "http.raw_no_host", "http.raw_http10", "http.raw_cl_and_te", "raise.sleep_timeout"}


def _recorded() -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for record in corpus.recordings():
        is_scoring = record["path"].split("?")[0] == "/invocations" and record["method"] == "POST"
        if is_scoring and record["id"] not in GATEWAY:
            found[record["model"]].append(record)
    return found


RECORDED = _recorded()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow traces agents into a database where it stands


@pytest.mark.parametrize("label", RECORDED)
def test_each_recorded_request_is_answered_as_recorded(label: str) -> None:
    wrong = []
    with corpus.environment(label):
        scorer = corpus.scorer(label)
        for record in RECORDED[label]:
            (answer,) = corpus.score(scorer, [corpus.request_body(record)], corpus.request_head(record))
            difference = corpus.difference(record, answer)
            if difference and record["id"] not in FIXED:
                wrong.append((record["id"], difference))
            assert record["id"] not in FIXED or difference is not None, f"{record['id']} is not fixed any more"
    assert wrong == []


@pytest.mark.parametrize("label", RECORDED)
def test_recorded_requests_are_answered_as_recorded_in_one_batch_with_twins(label: str) -> None:
    records = [record for record in RECORDED[label] for _ in range(3)]
    heads = [corpus.request_head(record) for record in records]
    bodies = [memoryview(corpus.request_body(record)) for record in records]
    with corpus.environment(label):
        scorer = corpus.scorer(label, max_rows=64)
        for _ in range(2):  # the first batch finds out what may be merged
            answers = []
            for at in range(0, len(records), 200):
                part = slice(at, at + 200)
                index = bytes(range(len(heads[part])))
                answers += scorer.score(heads[part], index, bodies[part])[0]
            wrong = [
                (record["id"], difference)
                for record, answer in zip(records, answers, strict=True)
                if (difference := corpus.difference(record, answer)) and record["id"] not in FIXED
            ]
            assert wrong == []


@pytest.mark.parametrize("label", RECORDED)
def test_a_success_never_becomes_a_server_error(label: str) -> None:
    with corpus.environment(label):
        scorer = corpus.scorer(label)
        for record in RECORDED[label]:
            (answer,) = corpus.score(scorer, [corpus.request_body(record)], corpus.request_head(record))
            if record["status"] < 500:
                assert answer.status < 500, record["id"]


@pytest.mark.parametrize(
    ("label", "request_", "message"),
    [
        ("typed_pydantic", {"inputs": [{"name": "a", "size": 1}, {"name": "a", "size": "x"}]}, "inputs[1].size: "),
        ("typed_pydantic", {"inputs": [{"name": "a"}]}, "inputs[0].size: "),
        ("typed_pydantic", {"inputs": 5}, "inputs: "),
        ("typed_list", {"inputs": ["a", 7]}, "inputs[1]: "),
        ("typed_list", {"instances": ["a"], "dataframe_records": ["a"]}, 'The body must have "inputs"'),
    ],
)
def test_strict_errors_find_what_does_not_fit_a_type_hint(label: str, request_: Any, message: str) -> None:
    (answer,) = corpus.score(corpus.scorer(label, errors="strict"), [json.dumps(request_).encode()])
    told = json.loads(answer.body)
    assert answer.status == 400
    assert told["message"].startswith(message)
    assert told.get("path", "") == (message.removesuffix(": ") if message.startswith("inputs") else "")
