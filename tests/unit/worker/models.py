"""Small models that live in memory, for tests of what a scorer makes of them."""

import json
from collections.abc import Callable
from typing import Any

from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from headrace_worker import scoring, wire
from headrace_worker.scoring.evidence import CHECKS

JSON_HEAD = wire.head(b"application/json")
TEXT = Schema([ColSpec("string", "text")])
NUMBER = Schema([ColSpec("double", "x")])


class Impl:
    """A model around a function; `calls` holds what it was given."""

    def __init__(self, predict: Callable[[Any, Any], Any]) -> None:
        self._predict = predict
        self.calls: list[Any] = []

    def predict(self, data: Any, params: Any = None) -> Any:
        self.calls.append(data)
        return self._predict(data, params)

    def predict_stream(self, data: Any, params: Any = None) -> Any:
        yield from self._predict(data, params)


def load(
    predict: Callable[[Any, Any], Any],
    inputs: Schema | None = None,
    *,
    params: list[ParamSpec] | None = None,
    streamable: bool = False,
    path: str = "nowhere",
    **options: Any,
) -> tuple[scoring.Scorer, Impl]:
    """A scorer of `predict(data, params)` with a signature, and the model to look at."""
    impl = Impl(predict)
    meta = Model()
    meta.add_flavor("python_function", loader_module="tests.unit.worker.models")
    if inputs is not None or params is not None:
        schemas: dict[str, Any] = {"inputs": inputs, "params": params and ParamSchema(params)}
        meta.signature = ModelSignature(**schemas)
    stream = "predict_stream" if streamable else None
    model = PyFuncModel(model_meta=meta, model_impl=impl, predict_stream_fn=stream)
    return scoring.Scorer(model, path, scoring.ScoringOptions(**options)), impl


def ask(scorer: scoring.Scorer, *requests: Any, head: bytes = JSON_HEAD) -> list[wire.Answer]:
    """Score requests (bytes as they are, all else as JSON) as one batch."""
    return ask_for_notes(scorer, *requests, head=head)[0]


def ask_for_notes(scorer: scoring.Scorer, *requests: Any, head: bytes = JSON_HEAD) -> tuple[list[wire.Answer], Any]:
    """As `ask`, with the batch's notes."""
    bodies = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in requests]
    answers, _, notes = scorer.score([head], bytes(len(bodies)), [memoryview(b) for b in bodies])
    return answers, json.loads(notes) if notes else {}


def texts(*values: str) -> dict[str, Any]:
    """The usual request."""
    return {"instances": list(values)}


def predictions(answer: wire.Answer) -> Any:
    """What a successful answer holds."""
    assert answer.status == 200, answer
    return json.loads(answer.body)["predictions"]


def error(answer: wire.Answer) -> dict[str, Any]:
    """What a failed answer says."""
    assert answer.status >= 400, answer
    return dict(json.loads(answer.body))


MIXED = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("integer", "i", required=False),
        ColSpec("long", "l", required=False),
        ColSpec("boolean", "b", required=False),
        ColSpec("string", "s", required=False),
    ]
)


def rows(data: Any, _params: Any) -> Any:
    return list(range(len(data)))


def split(**columns: list[Any]) -> dict[str, Any]:
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    return {"dataframe_split": {"columns": list(columns), "data": data}}


def upper(data: Any, _params: Any) -> Any:
    """A model's predict: the texts in capitals."""
    return [text.upper() for text in data["text"]]


def trusted(predict: Any, inputs: Schema | None, *requests: Any, **options: Any) -> tuple[scoring.Scorer, Impl]:
    """A scorer that has seen enough of `requests`, alone and together, to merge such without a further look."""
    scorer, impl = load(predict, inputs, **options)
    for _ in range(2):
        ask(scorer, *(requests * (CHECKS + 1)))
    impl.calls.clear()
    return scorer, impl
