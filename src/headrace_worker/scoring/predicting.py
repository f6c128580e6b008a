"""Calling the model, so that nothing it does can end the worker, and others have their turn meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.coroutines import LOOP, ModelExit
from headrace_worker.scoring.turns import TURNS

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = object()


def guarded_predict(model: Any, data: Any, params: Any) -> Any:
    """`model.predict` with everything that PyFuncModel does; SystemExit and the like become ModelExit."""
    try:
        with TURNS.away():
            return LOOP.settled(model.predict(data, params=params))
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise ModelExit(f"the model raised {type(error).__name__}({error})") from error


def stream_chunks(model: Any, data: Any, params: Any) -> Iterator[Any]:
    """The chunks of `model.predict_stream`; nothing of the model runs before the first is asked for."""
    with TURNS.away():
        chunks = iter(model.predict_stream(data, params=params))
    try:
        while True:
            with TURNS.away():
                chunk = next(chunks, _END)
            if chunk is _END:
                return
            yield chunk
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            with TURNS.away():
                close()
