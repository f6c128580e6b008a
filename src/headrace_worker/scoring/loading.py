"""Bringing a model up the way MLflow's scoring server does."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring import sessions
from headrace_worker.scoring.coroutines import streaming
from headrace_worker.scoring.tracing import TRACER

if TYPE_CHECKING:
    from headrace_worker.scoring.options import ScoringOptions


class LoadError(Exception):
    """The model cannot be loaded; the message is one line that an operator can act on."""


def load_pyfunc(path: str, options: ScoringOptions) -> Any:
    """Load the model directory `path` with the environment's own MLflow; raises LoadError.

    Afterwards the process counts as a serving environment for MLflow, as in its scoring server. Whether the
    environment is the one the model was trained in is headrace's own report, so MLflow's warnings about it
    are not asked for.
    """
    config = _parse_config(options.model_config)
    try:
        import mlflow.pyfunc

        TRACER.install(collect=options.collect_spans)
        extra = {} if config is None else {"model_config": config}
        with sessions.sparing(_loader_module(path)):
            model = mlflow.pyfunc.load_model(path, suppress_warnings=True, **extra)
        TRACER.loaded()
        _mark_serving_environment()
        stream = getattr(model, "_predict_stream_fn", None)
        if stream is not None:
            # Between what MLflow makes of the input and what it does with the stream, which must not be asynchronous.
            model._predict_stream_fn = streaming(stream)  # noqa: SLF001 - there is no other place
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a model's code may even call sys.exit while it is imported
        raise LoadError(f"it does not load{_other_python(path, error)}: {_one_line(error)}") from error
    return model


def _loader_module(path: str) -> str | None:
    from mlflow.models import Model

    flavors: Any = Model.load(path).flavors
    loader: str | None = flavors.get("python_function", {}).get("loader_module")
    return loader


def _parse_config(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise LoadError(f"the model configuration is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise LoadError(f"the model configuration must be a JSON object, got {type(config).__name__}")
    return config


def _mark_serving_environment() -> None:
    try:
        from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
    except ImportError:  # MLflow before 2.18 has no such notion
        return
    os.environ[_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name] = "true"


def _other_python(path: str, error: BaseException) -> str:
    """What to know where a model was saved under another Python; empty where it was not, or where a module lacks."""
    try:
        with open(os.path.join(path, "MLmodel"), encoding="utf-8") as file:
            saved = re.search(r"\bpython_version: *['\"]?([0-9]+\.[0-9]+)", file.read())
    except (OSError, UnicodeDecodeError):
        return ""
    here = "{}.{}".format(*sys.version_info[:2])
    if saved is None or saved[1] == here or isinstance(error, (ImportError, OSError)):
        return ""
    return (
        f" under Python {here}; it was saved under Python {saved[1]}, and a pickle often needs the same "
        "(environment: exact)"
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"
