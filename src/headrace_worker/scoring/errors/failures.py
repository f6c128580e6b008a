"""What a model raised, for the operator: kinds of failures with their counts, and each kind's traceback once."""

from __future__ import annotations

import traceback
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

MOST_KINDS = 16
"""Kinds of failures that one frame's notes may name; more are counted with the last."""

MOST_TEXT = 2000
MOST_TRACE = 20_000
MOST_TOLD = 256


class Failures:
    """Two failures are of one kind where the same type was raised at the same line."""

    def __init__(self) -> None:
        self._now: dict[tuple[str, str], dict[str, Any]] = {}
        self._told: set[tuple[str, str]] = set()
        # By threads: while one is in `predict`, another may be told of a failure.
        self._raised: dict[int, list[tuple[object, BaseException]]] = {}

    def told(self, answer: object, error: BaseException) -> None:
        """`answer`, of the frame that this thread is at, tells of `error`."""
        self._raised.setdefault(get_ident(), []).append((answer, error))

    def settle(self, answers: Sequence[object]) -> None:
        """These are all answers of the frame that this thread was at; two requests may share one."""
        if not self._raised:
            return
        for answer, error in self._raised.pop(get_ident(), ()):
            places = [place for place, one in enumerate(answers) if one is answer]
            if places:
                self.add(places, error)

    def add(self, places: list[int], error: BaseException) -> None:
        """The requests at these places of the frame have failed with `error`."""
        kind = (_name(error), _where(error.__traceback__))
        found = self._now.get(kind)
        if found is None and len(self._now) >= MOST_KINDS:
            found = next(reversed(self._now.values()))
        if found is not None:
            found["places"] += places
            return
        self._now[kind] = {
            "type": kind[0],
            "where": kind[1],
            "text": _text(error)[:MOST_TEXT],
            "places": places,
            "traceback": "" if kind in self._told else _traceback(error),
        }
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add(kind)

    def take(self) -> list[dict[str, Any]]:
        """What was added since the last call."""
        found, self._now = list(self._now.values()), {}
        return found


def _name(error: BaseException) -> str:
    module, name = type(error).__module__, type(error).__qualname__
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


def _where(trace: TracebackType | None) -> str:
    """File and line of the innermost frame."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a model's exception may have a `__str__` of its own
        return repr(type(error))


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except Exception:  # noqa: BLE001 - as above
        return ""
    return "".join(lines)[-MOST_TRACE:]
