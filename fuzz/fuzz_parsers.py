"""Coverage-guided fuzzing of what a worker reads of a request: python fuzz/fuzz_parsers.py [libFuzzer options].

The first byte chooses the model, the second the Content-Type and Content-Encoding, the rest is the body. What must hold
for any bytes: nothing is raised, each request gets an answer (JSON where it says so), and one beside it gets the same
as alone.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import atheris
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from numpy import dtype

with atheris.instrument_imports(include=["headrace_worker.scoring"]):
    from headrace_worker import scoring, wire

KINDS = [
    b"application/json",
    b"application/json; charset=utf-8",
    b"text/csv",
    b"application/vnd.apache.parquet",
    b"text/plain",
]
CODINGS = [b"", b"gzip", b"deflate", b"gzip, deflate"]
HEADS = [wire.head(kind, coding) for coding in CODINGS for kind in KINDS]
NEIGHBOUR = b'{"instances": ["good"]}'


class Echo:
    """A model that answers each row with a number."""

    def predict(self, data: Any, params: Any = None) -> list[int]:  # noqa: ARG002
        """Answer."""
        return [0] * len(data)


def load(inputs: Schema | None, params: Any = None) -> scoring.Scorer:
    """A scorer of a model with these inputs."""
    meta = Model()
    meta.add_flavor("python_function", loader_module="nowhere")
    if inputs is not None:
        meta.signature = ModelSignature(inputs=inputs, params=params)
    options = scoring.ScoringOptions(max_inflated_bytes=1 << 20)
    return scoring.Scorer(PyFuncModel(model_meta=meta, model_impl=Echo()), "nowhere", options)


PARAMS = ParamSchema([ParamSpec("k", DataType.long, 1)])
MIXED: list[Any] = [
    ColSpec(DataType.datetime, "when"),
    ColSpec(DataType.long, "n", required=False),
    ColSpec(DataType.double, "x"),
]
SCORERS = [
    load(None),
    load(Schema([ColSpec("string", "text")]), PARAMS),
    load(Schema(MIXED)),
    load(Schema([TensorSpec(dtype("float32"), (-1, 2))])),
]
ALONE = [scorer.score([HEADS[0]], b"\0", [memoryview(NEIGHBOUR)])[0][0] for scorer in SCORERS]


class Strict(logging.Handler):
    """What the scorer catches and logs as its own failure is one here."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise for a failure that is logged with its exception."""
        if record.exc_info and record.name.startswith("headrace_worker"):
            raise AssertionError(record.getMessage()) from record.exc_info[1]


def one_input(data: bytes) -> None:
    """Score one body beside one that is well."""
    if len(data) < 2:
        return
    at = data[0] % len(SCORERS)
    head, body = HEADS[data[1] % len(HEADS)], data[2:]
    answers, _, _ = SCORERS[at].score([head, HEADS[0]], b"\0\1", [memoryview(body), memoryview(NEIGHBOUR)])
    for answer in answers:
        if b"json" in answer.content_type:
            json.loads(answer.body)
        if not 200 <= answer.status < 600:
            raise AssertionError(answer)
    if answers[1].status != ALONE[at].status:
        raise AssertionError(f"beside it: {answers[1]} instead of {ALONE[at]}")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    logging.getLogger("headrace_worker").addHandler(Strict())
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
