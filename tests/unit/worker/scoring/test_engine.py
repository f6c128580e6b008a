"""Which requests share a predict call, and what happens when that goes wrong."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.types import ColSpec, DataType, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property

from headrace_worker import scoring, wire
from headrace_worker.scoring import engine
from headrace_worker.scoring.evidence import CHECKS
from tests.unit.worker.models import NUMBER, TEXT, Impl, ask, ask_for_notes, error, load, predictions, texts

pytestmark = pytest.mark.filterwarnings("ignore")


def upper(data: Any, _params: Any) -> Any:
    return [text.upper() for text in data["text"]]


@pytest.fixture(autouse=True)
def _however_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECK_NS", 600_000_000_000)


def trusted(predict: Any, inputs: Schema | None, *requests: Any, **options: Any) -> tuple[scoring.Scorer, Impl]:
    """A scorer that has seen enough of `requests`, alone and together, to merge such without a further look."""
    scorer, impl = load(predict, inputs, **options)
    for _ in range(2):
        ask(scorer, *(requests * (CHECKS + 1)))
    impl.calls.clear()
    return scorer, impl


def test_a_batch_of_the_usual_requests_is_one_call() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"))
    answers = ask(scorer, texts("a"), texts("b", "c"), texts("d"))
    assert [predictions(a) for a in answers] == [["A"], ["B", "C"], ["D"]]
    assert [a.rows for a in answers] == [1, 2, 1]
    assert [list(call["text"]) for call in impl.calls] == [["a", "b", "c", "d"]]


def test_a_call_holds_at_most_max_rows_but_no_request_is_cut() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"), max_rows=3)
    answers = ask(scorer, *[texts(c) for c in "abcdefg"], texts(*"hijkl"))
    assert [predictions(a) for a in answers] == [[c.upper()] for c in "abcdefg"] + [list("HIJKL")]
    assert [len(call) for call in impl.calls] == [3, 3, 1, 5]


def test_nothing_is_merged_where_max_rows_is_one() -> None:
    scorer, impl = load(upper, TEXT, max_rows=1)
    ask(scorer, texts("a"), texts("b"))
    assert [len(call) for call in impl.calls] == [1, 1]
    assert scorer.facts()["mergeable"] is False


def test_a_model_that_answers_once_per_column_is_found_out_and_never_merged_again() -> None:
    scorer, impl = load(lambda data, _: ["one"] * len(data.columns), TEXT)
    answers, notes = ask_for_notes(scorer, texts("a"), texts("b"), texts("c"))
    assert [predictions(a) for a in answers] == [["one"]] * 3
    assert notes == {"unmergeable": "instances: 2 rows were answered with 1", "mergeable": True}
    impl.calls.clear()
    _, notes = ask_for_notes(scorer, texts("a"), texts("b"))
    assert notes == {}
    assert [len(call) for call in impl.calls] == [1, 1]


def test_two_columns_answered_for_two_requests_are_not_taken_for_rows() -> None:
    inputs = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    scorer, _ = load(lambda data, _: list(data.columns), inputs)
    row = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}
    answers = ask(scorer, row, row)
    assert [predictions(a) for a in answers] == [["a", "b"]] * 2


def test_numbers_that_meet_by_chance_are_not_taken_for_rows() -> None:
    inputs = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    scorer, _ = load(lambda data, _: list(data.columns), inputs)
    one = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}
    two = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]] * 2}}
    ask(scorer, two)  # two rows, two answers: right by chance
    assert [predictions(a) for a in ask(scorer, one, one)] == [["a", "b"]] * 2


def test_a_kind_of_request_that_is_not_answered_by_rows_does_not_spoil_another() -> None:
    def pipeline(data: Any, _params: Any) -> Any:
        return [str(x) for x in data]  # an array row by row, a DataFrame column by column

    scorer, impl = load(pipeline)
    table = {"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}
    ask(scorer, texts("one"))
    answers, notes = ask_for_notes(scorer, table, texts("a"), table, texts("b"))
    assert [predictions(a) for a in answers] == [["a", "b"], ["a"], ["a", "b"], ["b"]]
    assert notes["unmergeable"] == "dataframe_split: 1 rows were answered with 2"
    ask(scorer, *[texts("c")] * CHECKS)
    impl.calls.clear()
    ask(scorer, texts("a"), texts("b"), texts("c"))
    assert len(impl.calls) == 1


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


def test_an_answer_without_rows_is_never_merged() -> None:
    scorer, _ = load(lambda data, _: {"n": len(data)}, TEXT)
    answers = ask(scorer, texts("a"), texts("b"))
    assert [predictions(a) for a in answers] == [{"n": 1}] * 2


TENSORS = Schema([TensorSpec(np.dtype(np.float32), (-1, 3), "x"), TensorSpec(np.dtype(np.int64), (-1,), "n")])


def test_named_tensors_that_share_the_first_dimension_are_one_call_and_their_named_answers_are_taken_apart() -> None:
    def network(data: Any, _params: Any) -> Any:
        hidden = data["x"] * data["n"][:, None].astype(np.float32)
        return {"sum": hidden.sum(axis=1), "hidden": hidden, "label": ["odd" if n % 2 else "even" for n in data["n"]]}

    requests = [{"inputs": {"x": [[i / 7, i / 3, 0.5]] * k, "n": [i] * k}} for i in range(20) for k in (1, 2)]
    scorer, impl = trusted(network, TENSORS, *requests)
    answers = ask(scorer, *requests)
    assert [len(call["n"]) for call in impl.calls] == [60]
    alone, _ = load(network, TENSORS, max_rows=1)
    assert [answer.body for answer in answers] == [answer.body for answer in ask(alone, *requests)]
    assert [answer.rows for answer in answers] == [1, 2] * 20


def test_named_tensors_built_directly_are_what_mlflow_builds() -> None:
    inputs = Schema(
        [
            TensorSpec(np.dtype(np.float32), (-1, 2), "f"),
            TensorSpec(np.dtype(np.float64), (-1,), "d"),
            TensorSpec(np.dtype(np.int32), (-1, 1), "i"),
            TensorSpec(np.dtype(bool), (-1,), "b"),
            TensorSpec(np.dtype(str), (-1,), "s"),
        ]
    )
    scorer, impl = load(lambda data, _: list(range(len(data["d"]))), inputs)
    for text in ("first", "a longer one", "s\0", ""):
        request = {"inputs": {"s": [text], "f": [[0.1, 16777217]], "d": [1e300], "i": [[7]], "b": [True], "x": [1]}}
        impl.calls.clear()
        ask(scorer, request)
        made = impl.calls[0]
        wanted = scorer.oracle.enforce(scorer.oracle.parse_value("inputs", request["inputs"]))
        assert list(made) == list(wanted)
        for name, array in wanted.items():
            assert (made[name].dtype, made[name].shape) == (array.dtype, array.shape)
            assert made[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "predict",
    [
        lambda data, _: {"rank": data["n"].argsort().argsort()},
        lambda data, _: {"y": data["x"], "total": data["n"].sum()},
        lambda data, _: {"y": data["x"], "first": data["x"][:1]},
        lambda data, _: {"mean": data["x"] - data["x"].mean(axis=0)},
        lambda data, _: {"y": data["x"], "empty": []},
        lambda data, _: {"masked": np.ma.masked_array(data["x"], data["x"] > data["x"].mean())},
        lambda data, _: {7: data["n"], 8: data["n"] - data["n"].min()},
    ],
)
def test_named_answers_that_depend_on_their_company_are_found_out(predict: Any) -> None:
    requests = [{"inputs": {"x": [[i / 7, i / 3, 0.5]], "n": [20 - i]}} for i in range(20)]
    alone, _ = load(predict, TENSORS, max_rows=1)
    wanted = [answer.body for answer in ask(alone, *requests)]
    scorer, _ = load(predict, TENSORS)
    for _ in range(3):
        assert [answer.body for answer in ask(scorer, *requests)] == wanted


EVERY_TYPE = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("string", "s"),
        ColSpec("datetime", "t"),
        ColSpec("binary", "b"),
        ColSpec(Array(DataType.double), "v"),
        ColSpec(Object([Property("k", DataType.string)]), "o"),
        ColSpec(Map(DataType.long), "m"),
    ]
)


def odd_row(i: int) -> dict[str, Any]:
    return {
        "d": i / 7,
        "s": f"é{i}",
        "t": f"2024-02-{i % 28 + 1:02}T12:34:56",
        "b": base64.b64encode(bytes([0, i])).decode(),
        "v": [i / 3, 0.5],
        "o": {"k": str(i)},
        "m": {"a": i},
    }


@pytest.mark.parametrize("index", [None, lambda i: i, str], ids=["no index", "numbers", "texts"])
@pytest.mark.parametrize("columns", ["ds", "d", "dstbvom", "tb", "v"])
def test_tables_of_every_type_and_with_an_index_are_one_call(columns: str, index: Any) -> None:
    """What the model is given says all there is to say about each row."""

    def see(data: Any, _params: Any) -> Any:
        return [repr((label, *row)) for label, row in zip(data.index, data.itertuples(index=False), strict=True)]

    inputs = Schema([spec for spec in EVERY_TYPE.inputs if str(spec.name) in columns])
    requests = []
    for i in range(30):
        rows = [odd_row(i), odd_row(i + 1)][: i % 2 + 1]
        table: dict[str, Any] = {"columns": list(columns), "data": [[row[name] for name in columns] for row in rows]}
        if index is not None:
            table["index"] = [index(i + 100), index(7)][: i % 2 + 1]
        requests.append({"dataframe_split": table})
    alone, _ = load(see, inputs, max_rows=1)
    wanted = [answer.body for answer in ask(alone, *requests)]
    scorer, impl = load(see, inputs)
    if index is None:  # the place in the call is in the index then
        scorer, impl = load(lambda data, _: see(data.set_index(data[columns[0]].astype(str)), None), inputs)
        alone, _ = load(lambda data, _: see(data.set_index(data[columns[0]].astype(str)), None), inputs, max_rows=1)
        wanted = [answer.body for answer in ask(alone, *requests)]
    for _ in range(3 + CHECKS // 15):
        impl.calls.clear()
        assert [answer.body for answer in ask(scorer, *requests)] == wanted
    assert [len(call) for call in impl.calls] == [45]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"t": "2024-02-29"}, {"t": "2024-02-29T12:34:56"}),
        ({"t": "2024-02-29 12:34:56"}, {"t": "2024-02-29T12:34:56"}),
        ({"t": "2024-02-29"}, {"t": "29.2.2024"}),
        ({"t": "2024-02-29"}, {"t": "2024-02-30"}),
        ({"t": "2024-02-29"}, {"t": "1500-01-01"}),
        ({"t": "2024-02-29"}, {"t": "2024-02-29T12:34:56+01:00"}),
        ({"t": "2024-02-29"}, {"t": None}),
        ({"t": "2024-02-29"}, {"t": 1}),
        ({"b": "aGk="}, {"b": "a"}),
        ({"b": "aGk="}, {"b": "\ud800"}),
        ({"b": "aGk="}, {"b": 1}),
        ({"v": [0.5]}, {"v": [1]}),
        ({"v": [0.5]}, {"v": [0.5, 1.5]}),
        ({"v": [0.5]}, {"v": []}),
        ({"v": [0.5]}, {"v": None}),
        ({"v": [0.5]}, {"v": 0.5}),
        ({"v": [0.5]}, {"v": "abc"}),
        ({"o": {"k": "a"}}, {"o": {}}),
        ({"o": {"k": "a"}}, {"o": {"k": None}}),
        ({"o": {"k": "a"}}, {"o": {"k": "a", "more": 1}}),
        ({"m": {"a": 1}}, {"m": {"b": 1, "c": 2}}),
        ({"m": {"a": 1}}, {"m": {"a": 1.5}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs"])
def test_odd_values_of_a_neighbour_change_nothing(one: Any, other: Any, form: str) -> None:
    def see(data: Any, _params: Any) -> Any:
        return [repr((type(row[0]).__name__, *row)) for row in data.itertuples(index=False)]

    (name,) = one
    inputs = Schema([spec for spec in EVERY_TYPE.inputs if spec.name == name])

    def request(row: Any) -> Any:
        return {form: {"columns": [name], "data": [[row[name]]]} if form == "dataframe_split" else [row]}

    alone, _ = load(see, inputs, max_rows=1)
    requests = [request(row) for row in (one, one, other, one, other, one)]
    wanted = [(answer.status, answer.body if answer.status == 200 else b"") for answer in ask(alone, *requests)]
    scorer, _ = load(see, inputs)
    for _ in range(3):
        answers = ask(scorer, *requests)
        assert [(answer.status, answer.body if answer.status == 200 else b"") for answer in answers] == wanted


def test_an_index_that_does_not_fit_is_refused_as_ever() -> None:
    scorer, _ = load(lambda data, _: data["x"].tolist(), NUMBER)
    table = {"columns": ["x"], "data": [[0.5]]}
    good = {"dataframe_split": {**table, "index": [3]}}
    for odd in ([], [1, 2], 3, "a", None, [None], [[1]], [1.5], [True], ["a"]):
        bad = {"dataframe_split": {**table, "index": odd}}
        fresh, _ = load(lambda data, _: data["x"].tolist(), NUMBER, max_rows=1)
        wanted = [answer.status for answer in ask(fresh, good, bad)]
        assert [answer.status for answer in ask(scorer, good, good, bad, good, bad)] == [200, *wanted, *wanted]


def test_a_poisonous_request_does_not_hurt_its_neighbours() -> None:
    def picky(data: Any, _params: Any) -> Any:
        if "poison" in set(data["text"]):
            raise ValueError("no")
        return list(data["text"])

    scorer, _ = load(picky, TEXT)
    answers = ask(scorer, texts("a"), texts("b"), texts("poison"), texts("c"))
    assert [a.status for a in answers] == [200, 200, 400, 200]
    assert "ValueError: no" in error(answers[2])["stack_trace"]
    assert scorer.facts()["mergeable"] is True


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), MemoryError("all gone"), RecursionError()])
def test_whatever_a_model_raises_is_the_answer_to_one_request(raised: BaseException) -> None:
    def moody(data: Any, _params: Any) -> Any:
        if "leave" in set(data["text"]):
            raise raised
        return list(data["text"])

    scorer, _ = load(moody, TEXT)
    answers = ask(scorer, texts("a"), texts("leave"), texts("b"), texts("c"))
    assert [a.status for a in answers] == [200, 400, 200, 200]
    assert type(raised).__name__ in error(answers[1])["stack_trace"]


def test_an_mlflow_exception_keeps_its_status_and_names_the_request_alone() -> None:
    def refuse(data: Any, _params: Any) -> Any:
        if "b" in set(data["text"]):
            raise MlflowException("not that", error_code=RESOURCE_DOES_NOT_EXIST)
        return list(data["text"])

    scorer, _ = load(refuse, TEXT)
    answers = ask(scorer, texts("a"), texts("b"), texts("c"))
    assert [a.status for a in answers] == [200, 404, 200]
    assert "'b'" in error(answers[1])["message"]
    assert "'c'" not in error(answers[1])["message"]


def test_requests_with_different_params_never_share_a_call() -> None:
    known = {"inputs": [0.5]}
    scorer, impl = trusted(
        lambda data, params: [params["k"]] * len(data), NUMBER, known, params=[ParamSpec("k", "long", 7)]
    )
    requests: list[Any] = [{"inputs": [1.5], "params": {"k": k}} for k in (5, 6, 5, 6)] + [{"inputs": [2.5]}]
    answers = ask(scorer, *requests)
    assert [predictions(a) for a in answers] == [[5], [6], [5], [6], [7]]
    assert sorted(len(call) for call in impl.calls) == [1, 2, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inputs": [1]}, {"inputs": [1.5]}),
        ({"inputs": [1]}, {"inputs": [True]}),
        ({"inputs": [1]}, {"inputs": ["a"]}),
        ({"inputs": [1.5]}, {"inputs": [None]}),
        ({"inputs": [[1, 2]]}, {"inputs": [[1, 2, 3]]}),
        ({"inputs": [1]}, {"instances": [1]}),
        ({"inputs": [2**63 - 1]}, {"inputs": [2**63]}),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
            {"dataframe_split": {"columns": ["b"], "data": [[1]]}},
        ),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
            {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}},
        ),
        ({"dataframe_records": [{"a": 1}]}, {"dataframe_records": [{"a": 1}, {"b": 1}]}),
    ],
)
def test_without_a_signature_only_values_of_one_type_are_merged(one: Any, other: Any) -> None:
    def types(data: Any, _params: Any) -> Any:
        dtype = data.dtype if hasattr(data, "dtype") else next(iter(data.dtypes))
        return [str(dtype)] * len(data)

    scorer, _ = load(types)
    alone = [ask(scorer, request)[0].body for request in (one, other)]
    for _ in range(2):
        assert [a.body for a in ask(scorer, one, other, one, other)] == alone * 2


# One model for each way in which the type of the whole is not that of a part.
WIDENING = {
    "array": np.array,
    "series": pd.Series,
    "frame": lambda values: pd.DataFrame({"y": values}),
    "list of an array": lambda values: np.array(values).tolist(),
    "list of a series": lambda values: pd.Series(values).tolist(),
    "objects": lambda values: np.array(values, dtype=object),
    "list": list,
    "object of arrays": lambda values: {"y": np.array(values), "z": [0.5] * len(values)},
}
VALUES: list[Any] = [1, 2.5, None, True, "a", "7", 0, 1.0, float("nan"), 10**20]


# 1, 1.0 and True, or None and NaN, from one and the same model cannot be told apart once they are merged.
TWINS = [{0, 3, 7}, {2, 8}]
PAIRS = [
    (i, k)
    for i in range(len(VALUES))
    for k in range(len(VALUES))
    if i == k or not any({i, k} <= twins for twins in TWINS)
]


@pytest.mark.parametrize("make", WIDENING.values(), ids=WIDENING)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_neighbour_does_not_change_the_type_of_an_answer(make: Any, first: int, second: int) -> None:
    def look_up(data: Any, _params: Any) -> Any:
        return make([VALUES[int(i)] for i in data["x"]])

    fresh, _ = load(look_up, NUMBER)
    requests = [{"inputs": [float(i)]} for i in (first, second, first, second, second, first)]
    alone = [ask(fresh, request)[0].body for request in requests]
    scorer, _ = load(look_up, NUMBER)
    for _ in range(3):
        assert [a.body for a in ask(scorer, *requests)] == alone


def test_a_type_that_is_confirmed_once_costs_no_further_calls() -> None:
    requests = [{"inputs": [float(i)]} for i in range(4)]
    scorer, impl = trusted(lambda data, _: np.floor(data["x"].to_numpy()), NUMBER, *requests)
    ask(scorer, *requests)
    assert [len(call) for call in impl.calls] == [4]


def test_what_cannot_be_merged_is_answered_beside_what_can() -> None:
    scorer, _ = load(upper, TEXT)
    answers = ask(scorer, texts("a"), b"{", {}, texts("b"), {"messages": []}, {"instances": []}, texts("c"))
    assert [a.status for a in answers] == [200, 400, 400, 200, 400, 200, 200]
    assert [predictions(answers[i]) for i in (0, 3, 5, 6)] == [["A"], ["B"], [], ["C"]]


def test_a_batch_of_several_media_types_is_answered_in_order() -> None:
    scorer, _ = load(upper, TEXT)
    heads = [wire.head(b"application/json"), wire.head(b"text/csv"), wire.head(b"text/plain")]
    bodies = [b'{"inputs": ["a"]}', b"text\nb\n", b"c", b'{"inputs": ["d"]}']
    answers, timing, _ = scorer.score(heads, bytes([0, 1, 2, 0]), [memoryview(b) for b in bodies])
    assert [a.status for a in answers] == [200, 200, 415, 200]
    assert timing.predicts == 3


def test_the_first_frame_built_directly_is_what_mlflow_builds() -> None:
    types = {"d": "double", "f": "float", "i": "integer", "l": "long", "b": "boolean", "s": "string"}
    inputs = Schema([*(ColSpec(t, n) for n, t in types.items()), ColSpec("string", "o", required=False)])
    scorer, impl = load(lambda data, _: list(range(len(data))), inputs)
    request = {"dataframe_split": {"columns": list("silfdb"), "data": [["a", 1, 2, 1.5, None, True]]}}
    for _ in range(2):
        ask(scorer, request)
    pd.testing.assert_frame_equal(impl.calls[0], impl.calls[1])
    assert impl.calls[1].dtypes.astype(str).to_dict() | {"s": ""} == {
        "d": "float64", "f": "float32", "i": "int32", "l": "int64", "b": "bool", "s": ""
    }  # fmt: skip


def test_half_a_surrogate_pair_is_refused_also_in_a_column_that_is_dropped() -> None:
    scorer, _ = load(upper, TEXT)
    usual = {"dataframe_split": {"columns": ["text", "more"], "data": [["a", "b"]]}}
    odd = {"dataframe_split": {"columns": ["text", "more"], "data": [["a", "\ud800"]]}}
    for _ in range(2):
        assert [answer.status for answer in ask(scorer, usual, odd, usual)] == [200, 400, 200]


def test_params_are_repeated_to_the_caller_as_mlflow_does() -> None:
    scorer, _ = load(lambda data, params: [params] * len(data), NUMBER, params=[ParamSpec("k", "long", 0)])
    answers = ask(scorer, {"inputs": [1.0], "params": {"k": "x"}}, {"inputs": [1.0], "params": {"k": 2, "other": 1}})
    assert error(answers[0])["error_code"] == "INVALID_PARAMETER_VALUE"
    assert json.loads(answers[1].body) == {"predictions": [{"k": 2}]}


class Liar:
    """Calls itself an array and is none."""

    ndim = 1

    def tolist(self) -> Any:
        raise RuntimeError("not really")

    def __len__(self) -> int:
        raise RuntimeError("not really")


@pytest.mark.parametrize("raw", [Liar(), np.array(3), np.ma.masked_array([1, 2], mask=[True, False])])
def test_an_answer_that_only_resembles_an_array_breaks_nothing(raw: Any) -> None:
    scorer, _ = load(lambda _data, _params: raw, TEXT)
    answers = ask(scorer, texts("a", "b"), texts("c", "d"), texts("e", "f"))
    assert len({a.body for a in answers}) == 1
    assert {a.status for a in answers} <= {200, 500}


def test_a_long_request_is_read_like_a_short_one() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"))
    long = ["x" * n for n in (400, 600, 4000, 5000, 100_000)]
    answers = ask(scorer, *[texts(text) for text in long])
    assert [predictions(a) for a in answers] == [[text.upper()] for text in long]
    assert len(impl.calls) == 1
