"""The environment's own scoring server, as the reference for every rule.

Whatever the fast paths do not claim goes through `mlflow.pyfunc.scoring_server.invocations` of the MLflow
that the model was trained with, so that each rule (formats, schema, types, LLM form, output) is that version's.
"""

from __future__ import annotations

import copy
import inspect
import io
import traceback
from typing import Any

from headrace_worker.scoring import flaskless
from headrace_worker.scoring.bodies import media
from headrace_worker.scoring.predicting import guarded_predict
from headrace_worker.scoring.repairing.repair import NULLABLE

UNEXPECTED = (
    "Encountered an unexpected error while evaluating the model. Verify that the serialized input Dataframe is "
    "compatible with the model for inference."
)
"""MLflow's words for any exception of a model."""


class Call:
    """Stands in for the model in one reference call: remembers what went in and what came out.

    `rows` is how many rows the model was given (1 where that is not a table), `predicted` whether the model has
    answered, `raw` its answer, `raised` what it (or a check before it) raised instead, `message` the text of that
    before MLflow puts the input in front of it.
    """

    def __init__(self, model: Any, error: Exception | None = None) -> None:
        self.metadata = model.metadata
        self.rows = 1
        self.predicted = False
        self.raw: Any = None
        self.raised: Exception | None = None
        self.message = ""
        self.data: Any = None
        self.params: Any = None
        self.is_enforced = False
        self._model = model
        self._error = error

    @property
    def is_table(self) -> bool:
        """Whether the model was given something with rows, and not one request of a chat model or its like."""
        if isinstance(self.data, dict):
            return _is_table(self.data)
        return hasattr(self.data, "dtype") or hasattr(self.data, "columns") or isinstance(self.data, list)

    def predict(self, data: Any, params: Any = None) -> Any:
        """What the scoring server calls."""
        self.rows = count_rows(data)
        self.data, self.params = data, params
        try:
            self.raw = self._raise_or_predict(data, params)
        except Exception as error:
            self.raised = error
            self.message = str(getattr(error, "message", error))
            raise
        self.predicted = True
        return self.raw

    def _raise_or_predict(self, data: Any, params: Any) -> Any:
        if self._error is not None:
            raise self._error
        return guarded_predict(self._model, data, params)


class CallFailed(Exception):
    """A reference call raised `error`: MLflow's own class where it has words for it, anything for its defects.

    `call.predicted` tells whether the model had answered before.
    """

    def __init__(self, call: Call, error: Exception) -> None:
        super().__init__(str(error))
        self.call = call
        self.error = error


class Oracle:
    """MLflow's parsing, enforcement and serialising for one loaded model."""

    def __init__(self, model: Any) -> None:
        from mlflow.exceptions import MlflowException

        with flaskless.to_import():
            from mlflow.pyfunc import scoring_server

        self.server: Any = scoring_server
        self._around = flaskless.to_call()
        self.error_class: type[Exception] = MlflowException
        self.model = model
        self.input_schema = model.metadata.get_input_schema()
        get_params = getattr(model.metadata, "get_params_schema", None)
        self.params_schema = get_params() if get_params is not None else None
        types = getattr(scoring_server, "CONTENT_TYPES", [media.CSV, media.JSON])
        self.content_types: tuple[str, ...] = tuple(types)
        self.protocol_change: str = getattr(scoring_server, "SCORING_PROTOCOL_CHANGE_INFO", "")
        from_hint = getattr(model.metadata, "_is_signature_from_type_hint", None)
        self.is_type_hint = bool(from_hint()) if from_hint is not None else False
        self.unenforced = _without_enforcement(model)
        # The Flask generation decodes every body before anything else looks at it.
        self.decodes_first = ".decode(" in _source(scoring_server.init)

    def call(self, kind: str, body: bytes, request: Any = None, error: Exception | None = None) -> tuple[Call, str]:
        """Score one body by reference; returns the call and the text of the answer.

        `request` is the parsed body where there is one (a dict); it is not changed. With `error` the model is not
        called, but taken to have raised it. Raises CallFailed for whatever MLflow's function raises.
        """
        call = Call(self.model, error)
        try:
            if type(request) is dict:
                data: Any = dict(request)
            else:
                data = body.decode("utf-8") if self.decodes_first else body
            with self._around:
                answer = self.server.invocations(data, kind, call, self.input_schema)
        except Exception as failure:
            raise CallFailed(call, failure) from failure
        return call, answer.response

    def parse_value(self, name: str, value: Any) -> Any:
        """What MLflow's parser makes of `value` below the format key `name`; raises `error_class` and others."""
        return self.server.infer_and_parse_data({name: value}, self.input_schema)

    def parse_csv(self, text: str) -> Any:
        """What MLflow's parser makes of CSV; raises `error_class`."""
        return self.server.parse_csv_input(io.StringIO(text), self.input_schema)

    def enforce(self, data: Any) -> Any:
        """What the model would be handed for parsed `data`; raises `error_class` and others."""
        if self.input_schema is None:
            return data
        from mlflow.models.utils import _enforce_schema

        return _enforce_schema(data, self.input_schema)

    def check(self, call: Call) -> None:
        """Raise what checking the input of `call` against the signature raises, without the model."""
        from mlflow.models.utils import _enforce_params_schema

        if not self.is_type_hint and not call.is_enforced:
            self.enforce(call.data)
        _enforce_params_schema(call.params, call.metadata.get_params_schema())

    def validate(self, data: Any, params: Any) -> None:
        """Raise what `predict_stream` raises before the model runs; nothing where this MLflow has no such function."""
        import mlflow.pyfunc

        validate: Any = getattr(mlflow.pyfunc, "_validate_prediction_input", None)
        if validate is not None:
            validate(data, params, self.input_schema, self.params_schema)

    def score(self, data: Any, params: Any = None) -> Call:
        """Predict a table that was parsed here; raises CallFailed with MLflow's words for what went wrong."""
        return self._score(Call(self.model), data, params)

    def score_with_nulls(self, data: Any, params: Any, nulls: dict[str, list[int]]) -> Call:
        """As `score`, for columns with nulls that MLflow has no type for: the model gets pandas' nullable types.

        `nulls` names the rows of each whose value in `data` only stands for one.
        """
        try:
            frame = self.with_nulls(data, nulls)
        except Exception as failure:
            raise CallFailed(Call(self.model), failure) from failure
        call = Call(self.unenforced)
        call.is_enforced = True
        return self._score(call, frame, params)

    def with_nulls(self, data: Any, nulls: dict[str, list[int]]) -> Any:
        """What the model is handed for `data`: enforced, null where `nulls` says so; raises what enforcing raises."""
        import pandas as pd

        frame = self.enforce(data)
        types = dict(zip(self.input_schema.input_names(), self.input_schema.input_types()))
        for name, places in nulls.items():
            array = pd.array(frame[name].to_numpy(), dtype=NULLABLE[types[name].name])
            array[places] = pd.NA
            frame[name] = pd.Series(array, index=frame.index)
        return frame

    def _score(self, call: Call, data: Any, params: Any) -> Call:
        try:
            call.predict(data, params)
        except self.error_class as error:
            worded: Any = error
            worded.message = f"Failed to predict data '{data}'. \nError: {worded.message}"
            raise CallFailed(call, worded) from error
        except Exception as error:
            raise CallFailed(call, self.bad_request(UNEXPECTED)) from error
        return call

    def bad_request(self, message: str) -> Exception:
        """MLflow's exception for BAD_REQUEST, with the stack trace of the exception that is being handled."""
        from mlflow.protos.databricks_pb2 import BAD_REQUEST

        make: Any = self.error_class
        error: Exception = make(message, error_code=BAD_REQUEST, stack_trace=traceback.format_exc())
        return error

    def parse_json(self, payload: bytes | dict[str, Any]) -> tuple[Any, Any]:
        """(data, params) of a JSON body as the scoring server makes them; raises `error_class`.

        Only for MLflow versions that stream, all of which have the function behind it.
        """
        text: Any = dict(payload) if isinstance(payload, dict) else payload
        if isinstance(payload, bytes) and self.decodes_first:
            text = payload.decode("utf-8-sig")
        parsed = self.server._parse_json_data(text, self.model.metadata, self.input_schema)  # noqa: SLF001
        return parsed.data, parsed.params


def _is_table(data: dict[Any, Any]) -> bool:
    """A dict of arrays is a table; any other dict is one request of a chat model or its like."""
    return bool(data) and all(getattr(value, "ndim", 0) for value in data.values())


def count_rows(data: Any) -> int:
    """How many rows a parsed input holds: of a table or a list its length, of a dict that of its columns."""
    if isinstance(data, dict):
        return max(map(len, data.values())) if _is_table(data) else 1
    if isinstance(data, (str, bytes)) or getattr(data, "ndim", 1) == 0:
        return 1
    return len(data) if hasattr(data, "__len__") else 1


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _without_enforcement(model: Any) -> Any:
    """A second handle on the loaded model that leaves out input enforcement and nothing else.

    `PyFuncModel.predict` enforces what the metadata's signature says about inputs; the copy's says nothing. Params,
    prediction context and whatever this version does around a call stay. None where this cannot be had.
    """
    from mlflow.pyfunc import PyFuncModel

    metadata: Any = model.metadata
    if type(model) is not PyFuncModel:
        return None
    from_example = getattr(metadata, "_is_type_hint_from_example", None)
    if from_example is not None and from_example():
        return None
    if metadata.get_input_schema() is None:
        return model
    try:
        bare: Any = copy.copy(model)
        bare_metadata, signature = copy.copy(metadata), copy.copy(metadata.signature)
        signature.inputs = None
        bare_metadata.signature = signature
        bare._model_meta = bare_metadata  # noqa: SLF001 - where PyFuncModel keeps what `metadata` returns
    except AttributeError:
        return None
    kept = metadata.get_input_schema() is not None and bare.metadata.get_input_schema() is None
    return bare if kept and bare.metadata.get_params_schema() == metadata.get_params_schema() else None
