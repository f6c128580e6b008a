"""Models whose answers depend on the requests beside them: found out, and merged only where that is accepted."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types import ColSpec, Schema

from headrace_worker.scoring import engine
from headrace_worker.scoring.evidence import CHECKS
from tests.unit.worker.models import NUMBER, ask, ask_for_notes, load, predictions, trusted

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("however_slow")]

COLUMNS = Schema([ColSpec("double", name) for name in "abcd"])

ROWS = [[i / 7, i / 3, 1 / (i + 1), 0.1] for i in range(100)]

TABLES = [{"dataframe_split": {"columns": list("abcd"), "data": [row]}} for row in ROWS]

WEIGHTS = np.array([0.1, 0.7, -1.3, 2.9])


def nearest(data: Any, _params: Any) -> Any:
    """The nearest of four points that lie equally far: the rounding of the distances, larger in company, decides."""
    distances = np.ones((len(data), 4))
    distances[:, 1] -= 1e-16 * np.log2(len(data))
    return distances.argmin(axis=1)


def softmax_over_rows(data: Any, _params: Any) -> Any:
    weights = np.exp(data.to_numpy())
    return weights / weights.sum(axis=0)


def batch_normalised(data: Any, _params: Any) -> Any:
    values = data.to_numpy(dtype=np.float32)
    return (values - values.mean(axis=0)) / (values.std(axis=0) + np.float32(1e-5))


LOOK_AROUND = {
    "rank": lambda data, _: data["a"].rank().tolist(),
    "rank as text": lambda data, _: data["a"].rank().astype(str).tolist(),
    "rank beside a score": lambda data, _: pd.DataFrame({"score": data["b"] * 1e9, "rank": data["a"].rank()}),
    "share of the sum": lambda data, _: (data["b"] / data["b"].sum()).tolist(),
    "less the mean": lambda data, _: data["c"].to_numpy() - data["c"].mean(),
    "less the mean, 32 bits": lambda data, _: (data["c"] - data["c"].mean()).to_numpy(dtype=np.float32),
    "a thousandth of the mean": lambda data, _: data["c"].to_numpy() + data["b"].mean() / 1000,
    "batch normalisation": batch_normalised,
    "softmax over rows": softmax_over_rows,
    "softmax over rows, 32 bits": lambda data, _: softmax_over_rows(data, None).astype(np.float32),
    "nearest neighbours with ties": nearest,
    "random": lambda data, _: np.random.default_rng().random(len(data)),
    "random, 32 bits": lambda data, _: np.random.default_rng().random((len(data), 3), dtype=np.float32),
    "count": lambda data, _: [len(data)] * len(data),
    "count in floats": lambda data, _: np.full(len(data), 1e9 + len(data)),
    # Small companies are no company to it.
    "count of twenties": lambda data, _: [len(data) // 20] * len(data),
}


@pytest.mark.parametrize("tolerance", ["auto", 0])
@pytest.mark.parametrize("predict", LOOK_AROUND.values(), ids=LOOK_AROUND)
def test_a_model_whose_answers_depend_on_their_company_is_found_out_without_an_example(
    predict: Any, tolerance: Any
) -> None:
    scorer, impl = load(predict, COLUMNS, tolerance=tolerance)
    alone, _ = load(predict, COLUMNS, max_rows=1)
    wanted = [answer.body for answer in ask(alone, *TABLES)]
    is_random = wanted != [answer.body for answer in ask(alone, *TABLES)]
    for _ in range(3):
        impl.calls.clear()
        got = [answer.body for answer in ask(scorer, *TABLES)]
        assert is_random or got == wanted
    assert [len(call) for call in impl.calls] == [1] * len(TABLES)
    assert scorer.facts()["mergeable"] is False


ROUND_OTHERWISE = {
    "sum": lambda data, _: data.to_numpy() @ WEIGHTS,  # BLAS adds up in another order where there are more rows
    "frame": lambda data, _: pd.DataFrame({"y": data.to_numpy() @ WEIGHTS, "z": 0}),
}


@pytest.mark.parametrize("predict", ROUND_OTHERWISE.values(), ids=ROUND_OTHERWISE)
def test_a_model_that_rounds_otherwise_in_company_is_not_merged_where_bytes_count(predict: Any) -> None:
    alone, _ = load(predict, COLUMNS, max_rows=1)
    scorer, _ = load(predict, COLUMNS, tolerance=0)
    wanted = [answer.body for answer in ask(alone, *TABLES)]
    for _ in range(3):
        assert [answer.body for answer in ask(scorer, *TABLES)] == wanted


def in_32_bits(data: Any, _params: Any) -> Any:
    """A layer whose sum runs in another order where there are more rows, whatever BLAS this machine has."""
    columns = list(data.to_numpy(dtype=np.float32).T)
    total = np.zeros(len(data), dtype=np.float32)
    for column, weight in list(zip(columns, WEIGHTS, strict=True))[:: 1 if len(data) == 1 else -1]:
        total += column * np.float32(weight)
    return np.stack([total, np.tanh(total)], axis=1)


@pytest.mark.parametrize("predict", [*ROUND_OTHERWISE.values(), in_32_bits], ids=[*ROUND_OTHERWISE, "32 bits"])
@pytest.mark.parametrize("options", [{}, {"tolerance": 1e-5}], ids=str)
def test_a_model_that_rounds_otherwise_in_company_is_merged_where_that_is_accepted(predict: Any, options: Any) -> None:
    alone, _ = load(predict, COLUMNS, max_rows=1)
    scorer, impl = trusted(predict, COLUMNS, *TABLES, **options)
    answers = ask(scorer, *TABLES)
    assert len(impl.calls) == 1
    for answer, wanted in zip(answers, ask(alone, *TABLES), strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(predictions(answer)), pd.DataFrame(predictions(wanted)), rtol=1e-5)


def test_a_label_that_flips_in_company_is_a_difference_however_near_the_number_beside_it() -> None:
    """The score lies at the threshold, and the noise of the sum decides."""

    def predict(data: Any, _params: Any) -> Any:
        score = 0.5 + (1e-17 if len(data) == 1 else 2.3e-16) + 0 * data["a"]
        return pd.DataFrame({"score": score, "label": np.where(score > 0.5, "yes", "no")})

    scorer, impl = load(predict, COLUMNS)
    for _ in range(2):
        impl.calls.clear()
        answers = ask(scorer, *TABLES)
        assert {predictions(answer)[0]["label"] for answer in answers} == {"no"}
    assert len(impl.calls) == len(TABLES)


def test_a_model_that_ranks_is_not_merged_however_much_is_accepted() -> None:
    scorer, _ = load(lambda data, _: data.rank().to_numpy()[:, 0], COLUMNS, tolerance=1e-3)
    for _ in range(3):
        assert [predictions(answer) for answer in ask(scorer, *TABLES)] == [[1.0]] * len(TABLES)


def test_a_model_that_comes_to_depend_on_the_company_is_found_out_later(caplog: pytest.LogCaptureFixture) -> None:
    is_moody = False
    scorer, _ = load(lambda data, _: [len(data) if is_moody else 0] * len(data), NUMBER)
    requests = [{"inputs": [float(i)]} for i in range(100)]
    ask(scorer, *requests)
    is_moody = True
    notes: dict[str, Any] = {}
    for _ in range(2 * CHECKS):
        notes = notes or ask_for_notes(scorer, *requests[:2])[1]
    assert notes["mergeable"] is False
    assert "depends on the other rows" in notes["unmergeable"]
    assert "depends on the other rows" in caplog.text
    assert [predictions(answer) for answer in ask(scorer, *requests[:2])] == [[1], [1]]


@pytest.mark.parametrize(("together_ns", "alone_ns", "checks"), [(50, 10, 5), (50, 100, 1), (1, 40, 3)])
def test_a_slow_model_is_got_to_know_over_several_calls(
    monkeypatch: pytest.MonkeyPatch, together_ns: int, alone_ns: int, checks: int
) -> None:
    """Checks of one call end after as long as the call took, or CHECK_NS where that is longer."""
    clock: Any = SimpleNamespace(now_ns=0, perf_counter_ns=lambda: clock.now_ns)

    def predict(data: Any, _params: Any) -> Any:
        clock.now_ns += together_ns if len(data) > 1 else alone_ns
        return [7] * len(data)

    scorer, impl = load(predict, NUMBER)
    requests = [{"inputs": [float(i)]} for i in range(50)]
    ask(scorer, requests[0])
    monkeypatch.setattr(engine, "CHECK_NS", 100 if checks == 3 else 0)
    monkeypatch.setattr(engine, "time", clock)
    checked = 0
    while checked < CHECKS:
        impl.calls.clear()
        ask(scorer, *requests)
        sizes = [len(call) for call in impl.calls]
        now = min(checks, CHECKS - checked)
        assert sizes == [50, *[1] * now]
        checked += now
    impl.calls.clear()
    ask(scorer, *requests)
    assert [len(call) for call in impl.calls] == [50]
