"""A model's `predict_stream` as server-sent events.

Each chunk is one event, ``data: <json>``. A stream that came to its end says ``data: [DONE]``; one that broke off
says ``event: error`` with an error object instead, and nothing after it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.errors.telling import error_body
from headrace_worker.scoring.output import Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DONE = b"data: [DONE]\n\n"


class ToldInStream(Exception):
    """The model has failed, and the last event of the stream says so: the stream is to be ended, and counted."""


def streams(model: Any) -> bool:
    """Whether the loaded model has a `predict_stream` that MLflow knows of."""
    return getattr(model, "_predict_stream_fn", None) is not None


def events(chunks: Iterator[Any], encode: Callable[[Any], bytes], *, strict: bool) -> Iterator[bytes]:
    """Server-sent events of `chunks`; closing this closes the model's generator.

    Raises ToldInStream after an event that tells of an error, and nothing of the model's.
    """
    try:
        for chunk in chunks:
            yield b"data: " + encode(chunk) + b"\n\n"
    except GeneratorExit:
        raise
    except Unsendable as error:
        yield _error("MODEL_ERROR", str(error))
        raise ToldInStream from error
    except BaseException as error:
        detail = "" if strict else f": {type(error).__name__}: {error}"
        yield _error("MODEL_ERROR", f"The model failed while it was streaming{detail}")
        raise ToldInStream from error
    else:
        yield DONE
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()


def _error(code: str, message: str) -> bytes:
    return b"event: error\ndata: " + error_body(code, message) + b"\n\n"
