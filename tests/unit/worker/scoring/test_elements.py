"""Models made with type hints: their requests share a call where the elements have one form."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.pyfunc.model import PythonModel
from pydantic import BaseModel

from headrace_worker import scoring
from headrace_worker.scoring import elements, engine
from tests.unit.worker.models import JSON_HEAD, ask, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


class Item(BaseModel):
    name: str
    sizes: list[int] = []


def _texts(self: Any, model_input: list[str]) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _whole(self: Any, model_input: list[int], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _vectors(self: Any, model_input: list[list[float]]) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _items(self: Any, model_input: list[Item]) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _dates(self: Any, model_input: list[dt.datetime]) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _emptied(self: Any, model_input: list[dict[str, Any]]) -> list[str]:  # noqa: ARG001
    seen = [repr(row) for row in model_input]
    for row in model_input:
        for value in row.values():
            if isinstance(value, list):
                value.clear()
        row.clear()
    return seen


def _table(self: Any, model_input: list[dict[str, Any]]) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in pd.DataFrame(model_input).to_dict(orient="records")]


def _ranks(self: Any, model_input: list[float]) -> Any:  # noqa: ARG001
    return pd.Series(model_input).rank()


ANY_SCALAR = st.one_of(st.text(max_size=3), st.integers(-9, 9), st.floats(-9, 9), st.booleans(), st.none())
ANYTHING = st.recursive(
    ANY_SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=5
)
ITEM = st.fixed_dictionaries({"name": st.text(max_size=3)}, optional={"sizes": st.lists(st.integers(0, 9), max_size=3)})
FITTING: dict[Any, st.SearchStrategy[Any]] = {
    _texts: st.text(max_size=5),
    _whole: st.integers(-5, 5) | st.just(2**64),
    _vectors: st.lists(st.floats(-9, 9), min_size=1, max_size=3),
    _items: ITEM,
    _dates: st.sampled_from(["2024-02-29", "2024-02-29T12:34:56", "2024-02-29T12:34:56+01:00", "2024-13-01"]),
    _emptied: st.dictionaries(st.sampled_from("abc"), ANYTHING, max_size=3),
    _table: st.dictionaries(st.sampled_from("abc"), ANY_SCALAR, min_size=1, max_size=3),
    _ranks: st.floats(-9, 9),
}
NAMES = {predict: predict.__name__.strip("_") for predict in FITTING}


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    monkeypatch.setattr(engine, "CHECK_NS", 600_000_000_000)


def typed(path: Path, predict: Any, **options: Any) -> scoring.Scorer:
    """A scorer of a model that is made of the type hint of `predict`, new to all requests."""
    import mlflow

    if not path.exists():
        made = type("Typed", (PythonModel,), {"predict": predict})()
        mlflow.pyfunc.save_model(str(path), python_model=made, pip_requirements=[])
    return scoring.load(str(path), scoring.ScoringOptions(**options))


@pytest.mark.parametrize("predict", FITTING, ids=NAMES.values())
def test_elements_in_one_call_are_answered_as_each_alone(predict: Any, tmp_path: Path) -> None:
    alone = typed(tmp_path / "model", predict, max_rows=1)
    model = typed(tmp_path / "model", predict).model

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.lists(FITTING[predict], max_size=3) | st.lists(ANYTHING, max_size=2) | ANYTHING, min_size=2, max_size=6
        )
    )
    def check(batch: list[Any]) -> None:
        together = scoring.Scorer(model, str(tmp_path / "model"), scoring.ScoringOptions(tolerance=0))
        requests = [{"inputs": rows} for rows in batch] * 3
        for got, request in zip(ask(together, *requests), requests, strict=True):
            (wanted,) = ask(alone, request)
            assert (got.status, got.rows) == (wanted.status, wanted.rows), (request, got, wanted)
            assert got.status != 200 or got.body == wanted.body, (request, got, wanted)

    check()


@pytest.mark.parametrize(
    ("predict", "rows"),
    [
        (_texts, ["a", "b", "c"]),
        (_whole, [1, 2, 3]),
        (_vectors, [[1.0, 2.5], [3.5, 4.0], [0.5, 0.25]]),
        (_items, [{"name": "a", "sizes": [1]}, {"name": "b", "sizes": [2]}, {"name": "c", "sizes": [3]}]),
        (_dates, ["2024-02-29", "2025-02-28", "2026-02-28"]),
        (_emptied, [{"a": "x", "b": ["y"]}, {"a": "z", "b": ["v", "w"]}, {"a": "u", "b": [""]}]),
    ],
    ids=lambda value: NAMES.get(value) if callable(value) else "",
)
def test_requests_of_one_form_are_one_call(predict: Any, rows: list[Any], tmp_path: Path) -> None:
    scorer = typed(tmp_path / "model", predict)
    for _ in range(3):
        ask(scorer, *[{"inputs": [row]} for row in rows * 30])
    bodies = [memoryview(json.dumps({"inputs": [row]}).encode()) for row in rows]
    answers, timing, _ = scorer.score([JSON_HEAD], bytes(3), bodies)
    assert [len(predictions(answer)) for answer in answers] == [1, 1, 1]
    assert timing.predicts == 1


def test_a_model_that_ranks_its_elements_is_found_out(tmp_path: Path) -> None:
    scorer = typed(tmp_path / "model", _ranks)
    for _ in range(3):
        answers = ask(scorer, *[{"inputs": [i / 3]} for i in range(20)])
        assert [predictions(answer) for answer in answers] == [[{"0": 1.0}]] * 20
    assert scorer.facts()["mergeable"] is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", 1),
        (1, 1.0),
        (1, True),
        (1, None),
        ([1], [1.0]),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 1}, {"b": 1, "a": 1}),
        ({"a": [1]}, {"a": ["x"]}),
        ([], ["a"]),
    ],
)
def test_elements_of_another_form(one: Any, other: Any) -> None:
    assert elements.form(one) != elements.form(other)


def test_lists_of_texts_have_one_form_however_long() -> None:
    assert elements.form(["a"]) == elements.form(["b", "c"]) is not None


@pytest.mark.parametrize("value", [2**63, ["a", 1], {"a": [1, None]}, json.loads("[" * 50 + "]" * 50)])
def test_what_has_no_form_that_others_could_share(value: Any) -> None:
    assert elements.form(value) is None
