"""Which element of an input does not fit the type hint that a model was made with; for strict errors only.

MLflow says it in a text that repeats the whole input. Its hints are those of pydantic, which knows the place.
"""

from __future__ import annotations

from typing import Any

from headrace_worker.scoring.locate import Finding


def misfit(model: Any, data: Any) -> Finding | None:
    """The first element of `data`, which came below ``inputs``, that does not fit; None where that is not found out."""
    try:
        import pydantic
        from mlflow.pyfunc.utils.data_validation import _get_func_info_if_type_hint_supported

        info: Any = _get_func_info_if_type_hint_supported(model.unwrap_python_model().predict)
        adapter: Any = pydantic.TypeAdapter(info.input_type_hint)
        try:
            adapter.validate_python(data)
        except pydantic.ValidationError as error:
            first: Any = error.errors(include_url=False, include_input=False)[0]
            steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            return Finding("inputs" + "".join(steps), "", str(first["msg"]))
    except Exception:  # noqa: BLE001 - an MLflow or a pydantic of another age: then there is no path
        return None
    return None
