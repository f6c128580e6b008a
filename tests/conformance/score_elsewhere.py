"""Run by test_other_versions.py inside another environment: train, save, score, and compare with its own MLflow.

Python 3.9 and nothing but what that environment holds. Prints one JSON line; any difference is an AssertionError.
"""

# ruff: noqa: B905, E402, T201 - Python 3.9 has no zip(strict=); mlflow warns while it is imported; the output is the result
from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from typing import Any

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import mlflow
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, Schema
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from headrace_worker import scoring, wire

HEAD = wire.head(b"application/json")
TEXTS = ["good great", "nice good", "bad awful", "sad bad"]
LETTERS = ["a", "b", "c"]


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def save(directory: str) -> None:
    """Three models: one text column, three double columns, no signature."""
    text = Pipeline([("c", ColumnTransformer([("t", TfidfVectorizer(), "text")])), ("l", LogisticRegression())])
    text.fit(pd.DataFrame({"text": TEXTS}), ["pos", "pos", "neg", "neg"])
    x = pd.DataFrame(np.random.RandomState(0).rand(40, 3), columns=LETTERS)
    numbers = LogisticRegression().fit(x, (x["a"] > 0.5).astype(int))
    text_in = Schema([ColSpec("string", "text")])
    numbers_in = Schema([ColSpec("double", c) for c in LETTERS])
    common: dict[str, Any] = {"serialization_format": "cloudpickle", "pip_requirements": ["mlflow"]}
    example = pd.DataFrame({"text": ["good day"]})
    mlflow.sklearn.save_model(
        text, directory + "/text", signature=ModelSignature(text_in), input_example=example, **common
    )
    mlflow.sklearn.save_model(numbers, directory + "/numbers", signature=ModelSignature(numbers_in), **common)
    mlflow.sklearn.save_model(numbers, directory + "/free", **common)


def table(columns: list[str], row: list[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": [row]}}


REQUESTS: dict[str, list[Any]] = {
    "text": [{"instances": [t]} for t in TEXTS]
    + [{"inputs": [t, t]} for t in TEXTS]
    + [table(["text"], [t]) for t in TEXTS]
    + [{"dataframe_records": [{"text": t}]} for t in TEXTS]
    + [{}, [1], {"instances": [1]}, {"instances": [None]}, {"instances": []}, {"messages": []}, {"inputs": {"x": 1}}],
    "numbers": [table(LETTERS, [i / 10, 0.5, 0.2]) for i in range(9)]
    + [table(["c", "b", "a"], [i, 0.5, None if i else 1]) for i in range(2)]
    + [{"instances": [{"a": 0.1, "b": 0.2, "c": i}]} for i in range(3)]
    + [{"inputs": {"a": [0.1], "b": [0.2], "c": [i / 3]}} for i in range(3)]
    + [table(["a"], [1]), {"dataframe_records": [{"a": "x", "b": 1, "c": 2}]}, {"inputs": [[1, 2, 3]]}],
    "free": [table(LETTERS, [i / 10, 0.5, 0.2]) for i in range(9)]
    + [{"inputs": [[i / 10, 0.5, 0.2]]} for i in range(9)]
    + [{"inputs": ["a"]}, {"inputs": [[1], [1, 2]]}],
}


class Teller(PythonModel):
    """Answers each row with its date."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:  # noqa: ARG002
        return [f"{n} {moment}" for n, moment in zip(model_input["n"], model_input["t"])]


REPAIRED: list[tuple[Any, Any]] = [
    ({"dataframe_records": {"n": 1, "t": UTC}}, {"dataframe_records": [{"n": 1, "t": UTC}]})
    for UTC in ("2024-02-29T12:34:56", "2024-02-29")
] + [
    (table(["n", "t"], [1, sent]), table(["n", "t"], [1, "2024-02-29T10:34:56.500000"]))
    for sent in ("2024-02-29T10:34:56.500Z", "2024-02-29T12:34:56.5+02:00")
]
"""Requests that every MLflow refuses by an accident, and what they mean."""


def repairs(directory: str) -> None:
    """Requests that are refused by an accident are answered as what they mean."""
    signature = ModelSignature(Schema([ColSpec("long", "n"), ColSpec("datetime", "t")]))
    mlflow.pyfunc.save_model(directory, python_model=Teller(), signature=signature, pip_requirements=["mlflow"])
    scorer = scoring.load(directory, scoring.ScoringOptions())
    for sent, normal in REPAIRED:
        bodies = [memoryview(encode(one)) for one in (sent, normal, sent)]
        answers, _, _ = scorer.score([HEAD], bytes(len(bodies)), bodies)
        assert [a.status for a in answers] == [200] * 3, answers
        assert len(set(answers)) == 1, answers
    marked = b"\xef\xbb\xbf" + encode(REPAIRED[0][1])
    assert scorer.score([HEAD], b"\0", [memoryview(marked)])[0][0].status == 200
    (csv,), _, _ = scorer.score([wire.head(b"text/csv")], b"\0", [memoryview(b"n;t\n1;2024-02-29T10:34:56Z\n")])
    assert csv.status == 200, csv


def wanted(scorer: scoring.Scorer, body: bytes) -> tuple[int, Any]:
    """What this environment's scoring server answers."""
    oracle = scorer.oracle
    data = body.decode() if oracle.decodes_first else body
    try:
        answer = oracle.server.invocations(data, "application/json", scorer.model, oracle.input_schema)
    except oracle.error_class as failure:
        error: Any = failure
        told = json.loads(error.serialize_as_json())
        told.pop("stack_trace", None)
        return error.get_http_status_code(), told
    return 200, json.loads(answer.response)


def got(answer: wire.Answer) -> tuple[int, Any]:
    told = json.loads(answer.body)
    if answer.status != 200:
        told.pop("stack_trace", None)
    return answer.status, told


def main() -> None:
    directory = tempfile.mkdtemp()
    save(directory)
    report: dict[str, Any] = {"python": sys.version.split()[0], "mlflow": mlflow.__version__, "predicts": {}}
    for name, requests in REQUESTS.items():
        scorer = scoring.load(directory + "/" + name, scoring.ScoringOptions())
        warm_up, _ = scorer.warm_up()
        assert warm_up["ok"] is (True if name == "text" else None), warm_up
        json.dumps(scorer.facts())
        bodies = [encode(request) for request in requests] + [b"no JSON", b""]
        expected = [wanted(scorer, body) for body in bodies]
        timing = wire.Timing()
        for _ in range(30):  # enough to be merged without a further look
            views = [memoryview(body) for body in bodies]
            answers, timing, _ = scorer.score([HEAD], bytes(len(bodies)), views)
            for body, answer, right in zip(bodies, answers, expected):
                assert got(answer) == right, (name, body, answer, right)
        report["predicts"][name] = [len(bodies), timing.predicts]
        assert timing.predicts < len(bodies), "nothing was merged"
    strict = scoring.load(directory + "/numbers", scoring.ScoringOptions(errors="strict"))
    (answer,), _, _ = strict.score([HEAD], b"\0", [memoryview(encode(table(LETTERS, [1, 2, "abc"])))])
    assert got(answer)[1]["path"] == "dataframe_split.data[0][2]", answer
    csv = strict.score([wire.head(b"text/csv")], b"\0", [memoryview(b"a,b,c\n1,2,3\n")])[0][0]
    assert csv.status == 200, csv
    repairs(directory + "/dates")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
