"""The text of a DataFrame beside MLflow's own, to the byte."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.pyfunc import scoring_server

from headrace_worker.scoring.output import Encoder
from headrace_worker.scoring.texts import MANY, _writer, array_text, object_text, record_texts

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


FLOATS = st.one_of(
    st.floats(),
    st.floats(1e-4, 1e9),
    st.floats(-10, 10).map(lambda x: round(x, 2)),
    st.floats(width=16),
    st.sampled_from([0.0, -0.0, 1e-4, 9.999999999999999e-05, 1e9 - 0.5, 1e9 + 0.5, 1e10 + 0.5, 1e16, 2.0**53, 5e-324]),
)
SHAPES = st.sampled_from([(MANY,), (MANY - 1,), (64, 3), (1, 200), (200, 1), (5, 4, 9), (2, 3, 4, 11), (0, 3), (3, 0)])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Enough floats, out of a few: some shape, some type, some order in memory."""
    shape = draw(SHAPES)
    few = np.array(draw(st.lists(FLOATS, min_size=1, max_size=9)))
    with np.errstate(over="ignore"):
        array = np.resize(few, shape).astype(draw(st.sampled_from(["f8", "f8", ">f8", "f4", "f2"])))
    return draw(st.sampled_from([array, array.T, array[::-1], np.asfortranarray(array)]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrays(), st.lists(st.text(max_size=3), max_size=2))
def test_many_floats_are_written_as_mlflow_writes_them(array: np.ndarray[Any, Any], names: list[str]) -> None:
    rows = len(array)
    frame = pd.DataFrame(
        {"x": array.reshape(rows, -1)[:, 0] if array.size else [], "t": ["a"] * (rows if array.size else 0)}
    )
    answers = [array, array.tolist(), {"a": array, **dict.fromkeys(names, array.tolist())}, {"n": 1, "a": array}, frame]
    if array.ndim == 2:
        answers.append(
            pd.DataFrame(array.astype(array.dtype.newbyteorder("=")), columns=list(map(str, range(array.shape[1]))))
        )
    for raw in answers:
        assert Encoder().encode(raw) == mlflow_text(raw)


def test_the_digits_are_those_of_python() -> None:
    """Where Arrow is of the kind that writes other digits, or puts points elsewhere, it must not be used."""
    random = np.random.default_rng()
    for doubles in (
        np.exp(random.uniform(np.log(1e-5), np.log(1e11), 100_000)) * random.choice([-1, 1], 100_000),
        random.normal(size=50_000),
        random.normal(size=50_000).astype("f4"),
        np.round(random.uniform(0, 1e6, 50_000), 3),
        2.0 ** np.resize(np.arange(-14, 34), 500) * random.choice([1, 3, 1 / 3, 1 + 2.0**-52, 1 - 2.0**-53], 500),
    ):
        assert array_text(doubles) == json.dumps(doubles.tolist())


def endless() -> list[Any]:
    """A list that holds itself."""
    value: list[Any] = []
    value += [value] * MANY
    return value


@pytest.mark.parametrize(
    "raw",
    [
        np.ones(MANY),
        [1.5] * (MANY - 1),
        [1.5] * MANY + [1],
        [1.5] * MANY + [None],
        [[1.5] * MANY, [1.5]],
        np.arange(MANY),
        np.float64(1.5),
        np.ma.masked_array([1.5] * MANY, mask=[True] * MANY),
        "text",
        [],
        endless(),
        [[1.5] * MANY, endless()],
    ],
    ids=range(12),
)
def test_other_arrays_stay_with_mlflow(raw: Any) -> None:
    assert array_text(raw) is None
    assert object_text({"a": raw}, json.dumps) is None
    assert object_text({1: np.full(MANY, 1.5)}, json.dumps) is None


@pytest.fixture
def _no_arrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment of mlflow-skinny."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    _writer.cache_clear()
    yield
    _writer.cache_clear()


@pytest.mark.usefixtures("_no_arrow")
def test_without_arrow_the_text_is_the_same() -> None:
    array = np.random.default_rng(0).normal(size=(50, 4))
    assert array_text(array) is None
    for raw in (array, pd.DataFrame(array, columns=list("abcd")), {"a": array}):
        assert Encoder().encode(raw) == mlflow_text(raw)
