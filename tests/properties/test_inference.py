"""Inference requests of any form: no bytes break a scorer, company changes no answer, and no form of the data does.

HEADRACE_DIFFERENTIAL_EXAMPLES says how many to try (50 unless set).
"""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401 - warns of itself while it is imported

from mlflow.types import ColSpec, ParamSpec, Schema, TensorSpec

from headrace_worker import scoring, wire
from headrace_worker.scoring.inference import tensors
from tests.unit.worker.models import JSON_HEAD, load

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(3600)]
tried = settings(
    max_examples=int(os.environ.get("HEADRACE_DIFFERENTIAL_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
COLUMNS = [("d", "double", "FP64"), ("f", "float", "FP32"), ("l", "long", "INT64"), ("b", "boolean", "BOOL")]
COLUMNS += [("s", "string", "BYTES"), ("t", "datetime", "BYTES"), ("y", "binary", "BYTES")]
TABLE = Schema([ColSpec(kind, name, required=False) for name, kind, _ in COLUMNS])


def echo(data: Any, _params: Any) -> Any:
    return data if isinstance(data, (np.ndarray, pd.DataFrame)) else list(data)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    SCORERS: list[scoring.Scorer] = [
        load(echo)[0],
        load(echo, TABLE, params=[ParamSpec("k", "long", 1)])[0],
        load(echo, Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))[0],
        load(echo, Schema([TensorSpec(np.dtype("str"), (-1,), "x")]))[0],
        load(lambda *_: [object()])[0],
        load(echo, TABLE, errors="strict")[0],
    ]

values: dict[str, st.SearchStrategy[Any]] = {
    "FP64": st.none() | st.floats(-1e9, 1e9) | st.integers(-(2**53), 2**53),
    "FP32": st.floats(-1e9, 1e9, width=32),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BOOL": st.booleans(),
    "s": st.text(max_size=5),
    "t": st.datetimes(min_value=pd.Timestamp("1700-01-01"), max_value=pd.Timestamp("2200-01-01")).map(str),
    "y": st.sampled_from(["", "AAEC", "odd"]),
}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request for TABLE."""
    rows = draw(st.integers(1, 3))
    chosen = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True))
    inputs = []
    for name, _, datatype in chosen:
        column = values.get(name, values.get(datatype, st.nothing()))
        data = draw(st.lists(column, min_size=rows, max_size=rows))
        inputs.append({"name": name, "shape": [rows], "datatype": datatype, "data": data})
    document: dict[str, Any] = {"inputs": inputs}
    if draw(st.booleans()):
        document["id"] = draw(st.text(max_size=3))
    return document


def head(size: int | None = None) -> bytes:
    return wire.spoken_head(wire.Spoken(wire.V2, "m", size), wire.head(None))


def ask(scorer: scoring.Scorer, *documents: Any) -> list[wire.Answer]:
    bodies = [memoryview(json.dumps(document).encode()) for document in documents]
    return scorer.score([head()], bytes(len(bodies)), bodies)[0]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
odd_tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["d", "s", "x", ""]) | anything,
        "shape": st.lists(st.integers(-1, 3) | st.just(2**40), max_size=3) | anything,
        "datatype": st.sampled_from([*tensors.DTYPES, "BYTES", "BF16"]) | anything,
    },
    optional={
        "data": anything | st.lists(anything, max_size=3),
        "parameters": anything
        | st.fixed_dictionaries(
            {},
            optional={
                "content_type": st.sampled_from(["np", "str", "base64", "datetime", "pd_json", "odd"]),
                "binary_data_size": st.integers(-1, 12),
            },
        ),
    },
)
odd_requests = st.fixed_dictionaries(
    {"inputs": st.lists(odd_tensors, max_size=3) | anything},
    optional={
        "id": anything,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["output-1", "d"])}), max_size=2) | anything,
        "parameters": anything
        | st.fixed_dictionaries(
            {},
            optional={
                "content_type": st.sampled_from(["np", "pd", "str", "dict", "odd"]),
                "binary_data_output": st.booleans(),
                "k": anything,
            },
        ),
    },
)


@tried
@given(
    scorer=st.sampled_from(SCORERS),
    body=st.binary(max_size=60) | odd_requests.map(lambda d: json.dumps(d).encode()),
    rest=st.binary(max_size=12),
    protocol=st.sampled_from([wire.V2, wire.V2, wire.V1]),
    size=st.none() | st.integers(0, 80) | st.just(-1),
    coding=st.sampled_from([b"", b"", b"gzip", b"br"]),
)
def test_no_bytes_can_break_a_scorer(
    scorer: scoring.Scorer, body: bytes, rest: bytes, protocol: str, size: int | None, coding: bytes
) -> None:
    spoken = wire.Spoken(protocol, "m", len(body) if size == -1 else size)
    whole = memoryview(body + rest if size is not None else body)
    neighbour = memoryview(b'{"inputs": [{"name": "d", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}')
    heads = [wire.spoken_head(spoken, wire.head(b"a/b", coding)), head()]
    answer, other = scorer.score(heads, b"\0\1", [whole, neighbour])[0]
    (alone,) = scorer.score([head()], b"\0", [neighbour])[0]
    assert (other.status, other.body) == (alone.status, alone.body)
    _, json_bytes = wire.split_type(answer.content_type)
    document = json.loads(answer.body[: int(json_bytes)] if json_bytes else answer.body)
    if answer.status != 200:
        assert answer.status in {400, 413, 500}
        assert list(document) == ["error"]
    elif protocol == wire.V2:
        assert list(document)[:2] == ["model_name", "model_version"]


@tried
@given(st.lists(requests(), min_size=2, max_size=5))
def test_company_changes_no_answer(documents: list[dict[str, Any]]) -> None:
    def answer_of(data: Any, _params: Any) -> Any:
        return data.assign(rows=0.5)

    alone = load(answer_of, TABLE, max_rows=1)[0]
    together = load(answer_of, TABLE)[0]
    batch = documents * 2
    wanted = [ask(alone, document)[0] for document in batch]
    for _ in range(3):
        for found, expected, document in zip(ask(together, *batch), wanted, batch, strict=True):
            note(f"{document} -> {found}, alone {expected}")
            assert found == expected


@tried
@given(requests())
def test_a_tensor_says_what_the_same_data_says_to_invocations(document: dict[str, Any]) -> None:
    scorer = load(lambda data, _: data.map(repr), TABLE)[0]
    (answer,) = ask(scorer, document)
    columns = {one["name"]: one["data"] for one in document["inputs"] if one["name"] != "y"}
    if answer.status != 200 or not columns or len(columns) < len(document["inputs"]):
        return  # MLServer takes what is no base64 as it is: MLflow does not
    table = {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}
    body = memoryview(json.dumps({"dataframe_split": table}).encode())
    (same,) = scorer.score([JSON_HEAD], b"\0", [body])[0]
    if same.status != 200:
        return
    told = {one["name"]: one["data"] for one in json.loads(answer.body)["outputs"]}
    rows = json.loads(same.body)["predictions"]
    assert {name: [row[name] for row in rows] for name in told} == told
