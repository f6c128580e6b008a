"""The text of a DataFrame beside MLflow's own, to the byte."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.pyfunc import scoring_server

from headrace_worker.scoring.output import Encoder
from headrace_worker.scoring.texts import record_texts

pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS: list[st.SearchStrategy[Any]] = [
    st.tuples(st.just("float64"), st.floats()),
    st.tuples(st.just("float32"), st.floats(width=32)),
    st.tuples(st.just("float16"), st.floats(width=16)),
    st.tuples(st.just("int64"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("uint64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("int8"), st.integers(-128, 127)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("object"), st.text(max_size=4)),
    st.tuples(st.just("object"), st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(), st.booleans())),
    st.tuples(st.just("str"), st.one_of(st.none(), st.text(max_size=3))),
    st.tuples(st.just("category"), st.text(max_size=3)),
    st.tuples(st.just("Int64"), st.one_of(st.none(), st.integers(0, 9))),
    st.tuples(st.just("datetime64[ns]"), st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1))),
]
NAMES = st.one_of(st.text(max_size=3), st.sampled_from(["%s", "%", "%%d", "{}", '"', "\n"]))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    one_type = draw(st.booleans())
    chosen = draw(st.sampled_from(range(len(COLUMNS))))
    columns = {}
    for name in draw(st.lists(st.one_of(NAMES, st.integers(0, 2)), max_size=4)):
        at = chosen if one_type else draw(st.sampled_from(range(len(COLUMNS))))
        drawn = [draw(COLUMNS[at]) for _ in range(rows)] or [draw(COLUMNS[at])][:0]
        dtype = drawn[0][0] if drawn else "float64"
        columns[name] = pd.Series([value for _, value in drawn], dtype=dtype)
    return pd.DataFrame(columns)


def mlflow_text(raw: Any) -> bytes | None:
    file = io.StringIO()
    server: Any = scoring_server
    try:
        server.predictions_to_json(raw, file)
    except Exception:  # noqa: BLE001 - headrace may know a form where MLflow knows none
        return None
    return file.getvalue().encode("utf-8", "surrogatepass")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames())
def test_a_frame_is_written_as_mlflow_writes_it(frame: pd.DataFrame) -> None:
    wanted = mlflow_text(frame)
    got = Encoder().encode(frame)
    assert wanted is None or got == wanted


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"p": [0.1, float("nan"), float("inf")], "q": [1.0, -0.0, 1e-320]}),
        pd.DataFrame({"p": [0.1], "label": ["a\n%s"], "n": [2**63 - 1], "is": [True]}),
        pd.DataFrame(np.ones((3, 2), dtype=np.float32) / 3, columns=["a", "b"]),
        pd.DataFrame({"a": [1.5, 2.5]}, index=["x", "x"]),
    ],
)
def test_the_usual_frames_are_known(frame: pd.DataFrame) -> None:
    text = record_texts(frame)
    assert text is not None
    assert b'{"predictions": %s}' % text.encode() == mlflow_text(frame)


@pytest.mark.parametrize(
    "raw",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]]),
        pd.DataFrame(),
        pd.DataFrame({"a": [None, "b"]}),
        pd.DataFrame({"a": pd.to_datetime(["2024-02-29"])}),
        pd.Series([1.5]),
        [{"a": 1.5}],
    ],
    ids=str,
)
def test_what_else_there_is_stays_with_mlflow(raw: Any) -> None:
    assert record_texts(raw) is None
