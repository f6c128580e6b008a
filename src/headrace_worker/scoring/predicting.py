"""Calling the model, so that nothing it does can end the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class ModelExit(RuntimeError):
    """The model tried to end the process (SystemExit, KeyboardInterrupt): a failure of this request only."""


def guarded_predict(model: Any, data: Any, params: Any) -> Any:
    """`model.predict` with everything that PyFuncModel does; SystemExit and the like become ModelExit."""
    try:
        return model.predict(data, params=params)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise ModelExit(f"the model raised {type(error).__name__}({error})") from error


def stream_chunks(model: Any, data: Any, params: Any) -> Iterator[Any]:
    """The chunks of `model.predict_stream`; nothing of the model runs before the first is asked for."""
    yield from model.predict_stream(data, params=params)
