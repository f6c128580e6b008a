"""Which form of an input a served model takes: its answers tell.

A DataFrame or a list of dicts is sent as a DataFrame. A model that is made of type hints refuses that before it looks
at anything, and wants the rows below ``inputs``; then they are sent so, and so are the next ones, for as long as the
same version answers. Nothing else is found out by trying: whether a model fits an input is not guessed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from headrace.client.errors import BadRequest
from headrace.client.replies import Reply

_WANTS_INPUTS = "with 'inputs' key when the model contains a valid type hint"
"""What MLflow's scoring server says, and headrace, which asks the same function."""


A = TypeVar("A", bound="Answered")


class Answered(Protocol):
    """A good answer."""

    @property
    def reply(self) -> Reply:
        """The answer itself."""


class Forms:
    """What is known of one model's form. Belongs to one event loop."""

    def __init__(self) -> None:
        self._typed = False
        self._model: str | None = None

    async def ask(self, send: Callable[[bytes], Awaitable[A]], body: bytes, typed: Callable[[], bytes]) -> A:
        """Send `body`, or what `typed` writes; raises what `send` raises."""
        if self._typed:
            try:
                answer = await send(typed())
            except BadRequest:
                self._typed = False  # another version may serve by now, and want the usual form
            else:
                self._typed = _model(answer) == self._model
                if self._typed:
                    return answer
        try:
            return await send(body)
        except BadRequest as error:
            if _WANTS_INPUTS not in str(error):
                raise
        answer = await send(typed())
        self._typed, self._model = True, _model(answer)
        return answer


def _model(answer: Answered) -> str | None:
    return answer.reply.headers.get("headrace-model")
