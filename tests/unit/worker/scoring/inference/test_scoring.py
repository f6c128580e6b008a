"""Which inference requests share a call, that this changes no answer, and whose fault a failure is."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from mlflow.types import ColSpec, Schema, TensorSpec

from headrace_worker import wire
from headrace_worker.scoring import engine
from headrace_worker.scoring.evidence import CHECKS
from tests.unit.worker.models import JSON_HEAD, NUMBER, Impl, load, predictions
from tests.unit.worker.models import ask as ask_mlflow
from tests.unit.worker.scoring.inference.asking import ask, error, head, outputs, tensor

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _however_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECK_NS", 600_000_000_000)


def numbers(*values: float, **others: Any) -> dict[str, Any]:
    return {**others, "inputs": [tensor("x", "FP64", list(values))]}


def more(data: Any, _params: Any) -> Any:
    return data["x"].to_numpy() + 0.25


def trusted(predict: Any, inputs: Schema | None, document: dict[str, Any], **options: Any) -> tuple[Any, Impl]:
    """A scorer that has seen enough of such requests to merge them without a further look."""
    scorer, impl = load(predict, inputs, **options)
    ask(scorer, document)
    for _ in range(2):
        ask(scorer, *[document] * (CHECKS + 1))
    impl.calls.clear()
    return scorer, impl


def test_requests_of_one_kind_are_one_call() -> None:
    scorer, impl = trusted(more, NUMBER, numbers(0.1))
    answers = ask(scorer, numbers(1), numbers(2, 3, id="b"), numbers(4, outputs=[{"name": "output-1"}]))
    assert [outputs(one)["output-1"] for one in answers] == [[1.25], [2.25, 3.25], [4.25]]
    assert [one.rows for one in answers] == [1, 2, 1]
    assert [list(call["x"]) for call in impl.calls] == [[1, 2, 3, 4]]
    assert json.loads(answers[1].body)["id"] == "b"


def test_binary_and_json_share_a_call_and_each_is_answered_in_its_own_form() -> None:
    scorer, impl = trusted(more, NUMBER, numbers(0.1))
    raw = np.array([4.0]).tobytes()
    one = {"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}
    document = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    heads = [head(), head(len(document))]
    bodies = [memoryview(json.dumps(numbers(2)).encode()), memoryview(document + raw)]
    answers = scorer.score(heads, b"\0\1", bodies)[0]
    assert [list(call["x"]) for call in impl.calls] == [[2, 4]]
    assert outputs(answers[0]) == {"output-1": [2.25]}
    assert answers[1].body.endswith(np.array([4.25]).tobytes())


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": [tensor("x", "FP32", [1])]},
        {"inputs": [tensor("x", "FP64", [1]), tensor("y", "FP64", [1])]},
        numbers(1, parameters={"k": 1}),
        numbers(1, parameters={"content_type": "np"}),
    ],
)
def test_requests_of_other_kinds_are_other_calls(other: dict[str, Any]) -> None:
    scorer, impl = trusted(lambda data, _: np.zeros(len(data)), NUMBER, numbers(0.1))
    ask(scorer, numbers(1), other, numbers(2))
    assert max(len(call) for call in impl.calls) == 2
    assert len(impl.calls) <= 2


def test_a_model_that_looks_at_other_rows_is_found_out_and_other_requests_are_not_held_to_it() -> None:
    scorer, _ = load(lambda data, _: data["x"].to_numpy() - data["x"].mean(), NUMBER)
    for _ in range(3):
        answers = ask(scorer, numbers(1, 2), numbers(3), numbers(5, 7))
        assert [outputs(one)["output-1"] for one in answers] == [[-0.5, 0.5], [0.0], [-1.0, 1.0]]
    assert scorer.evidence.unmergeable is None


def test_rounding_noise_of_a_shared_call_is_no_other_answer() -> None:
    def noisy(data: Any, _params: Any) -> Any:
        return data["x"].to_numpy() / 3 * (1 + 1e-15 * (len(data) > 1))

    _, impl = trusted(noisy, NUMBER, numbers(0.1))
    scorer, impl = trusted(noisy, NUMBER, numbers(0.7))
    ask(scorer, numbers(1), numbers(2))
    assert [len(call) for call in impl.calls] == [2]


def test_a_model_of_a_fixed_number_of_rows_gets_no_others() -> None:
    schema = Schema([TensorSpec(np.dtype("float64"), (1, 1))])
    scorer, impl = load(lambda data, _: data, schema)
    for _ in range(3):
        ask(scorer, *[{"inputs": [tensor("x", "FP64", [1], [1, 1])]}] * 3)
    assert {call.shape for call in impl.calls} == {(1, 1)}


def test_one_that_the_model_fails_on_does_not_cost_the_others_their_answers() -> None:
    def picky(data: Any, _params: Any) -> Any:
        if (data["x"] < 0).any():
            raise ValueError("negative")
        return data["x"].to_numpy() + 0.25

    scorer, _ = trusted(picky, NUMBER, numbers(0.1))
    good, bad, other = ask(scorer, numbers(1), numbers(-1), numbers(2))
    assert (outputs(good), outputs(other)) == ({"output-1": [1.25]}, {"output-1": [2.25]})
    assert error(bad) == (500, "The model raised ValueError: negative")
    assert bad.flags == wire.FLAG_MODEL_ERROR


def test_strict_errors_tell_nothing_of_models_and_inputs() -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("secret")

    scorer, _ = load(fails, NUMBER, errors="strict")
    assert error(ask(scorer, numbers(1))[0]) == (500, "The model raised ValueError")
    (answer,) = ask(scorer, {"inputs": [tensor("x", "BYTES", ["secret"])]})
    assert answer.status == 400
    assert b"secret" not in answer.body


def test_what_is_no_request_is_answered_in_the_protocols_form() -> None:
    scorer, impl = load(more, NUMBER)
    for body in (b"", b"{", b"[]", b"\xff", b"[" * 600 + b"]" * 600, b'{"inputs": [{"name": "x"}]}'):
        assert error(ask(scorer, body)[0])[0] == 400
    (answer,), _, _ = scorer.score([head(9)], b"\0", [memoryview(b"{}")])
    assert "Inference-Header-Content-Length" in error(answer)[1]
    assert impl.calls == []


def test_a_compressed_request_is_read() -> None:
    scorer, _ = load(more, NUMBER)
    body = gzip.compress(json.dumps(numbers(2)).encode())
    (answer,), _, _ = scorer.score([head(None, b"gzip")], b"\0", [memoryview(body)])
    assert outputs(answer) == {"output-1": [2.25]}


def test_v1_is_answered_as_invocations_are_but_for_the_form_of_errors() -> None:
    scorer, _ = load(more, NUMBER)
    v1 = wire.spoken_head(wire.Spoken(wire.V1, "m"), wire.head(b"application/json"))
    good = json.dumps({"instances": [{"x": 2.0}]}).encode()
    answers = scorer.score([v1, JSON_HEAD], b"\0\1\0", [memoryview(good), memoryview(good), memoryview(b'{"x": 1}')])[0]
    assert answers[0] == answers[1]
    assert predictions(answers[0]) == [2.25]
    status, message = error(answers[2])
    assert status == 400
    assert "dataframe_split" in message


def test_both_protocols_beside_each_other_in_one_frame() -> None:
    scorer, _ = load(more, Schema([ColSpec("double", "x")]))
    bodies = [memoryview(json.dumps(numbers(2)).encode()), memoryview(b'{"inputs": {"x": [2.0]}}')]
    tensors, mlflow = scorer.score([head(), JSON_HEAD], b"\0\1", bodies)[0]
    assert outputs(tensors)["output-1"] == predictions(mlflow) == [2.25]
    assert ask_mlflow(scorer, {"inputs": {"x": [2.0]}})[0].status == 200
