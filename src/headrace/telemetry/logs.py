"""Logs: one line an event, for people on a terminal and as JSON otherwise, always on standard error.

Names and messages of others stand in them: with any content of these, a line is one line of printable characters.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO, TypeAlias

import structlog

from headrace.core.escaping import printable, printable_json

Log: TypeAlias = structlog.typing.FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Level:
    """What is less is left out. It may be set at any time, and holds for every logger that was made with it."""

    def __init__(self, name: str = "info") -> None:
        self._least = _LEVELS[name]

    def set(self, name: str) -> None:
        """From now on this is the least."""
        self._least = _LEVELS[name]

    def __call__(self, logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:  # noqa: ARG002
        """Let an event pass; see structlog's processors. Raises DropEvent."""
        if _LEVELS.get(name, logging.ERROR) < self._least:
            raise structlog.DropEvent
        return event


def make_log(
    form: Literal["auto", "text", "json"] = "auto", level: str | Level = "info", stream: TextIO | None = None
) -> Log:
    """A logger that writes to `stream` (standard error); `auto` is text on a terminal and JSON elsewhere."""
    stream = sys.stderr if stream is None else stream
    text = form == "text" or (form == "auto" and stream.isatty())
    renderer: structlog.typing.Processor
    if text:
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        renderer = ForPeople(colors=stream.isatty())
    else:
        stamp = structlog.processors.TimeStamper(fmt="iso")
        renderer = _for_programs
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            level if isinstance(level, Level) else Level(level),
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    return log


class ForPeople:
    """Renders an event as a line. What an exception was raised by follows it, each line of that set in."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)

    def __call__(self, logger: Any, name: str, event: structlog.typing.EventDict) -> str:
        """Render; see structlog's processors."""
        exception = event.pop("exception", None)
        shown = {printable(key): _plain(value) for key, value in event.items()}
        shown["event"] = printable(str(event.get("event", "")))
        lines = [str(self._render(logger, name, shown)), *(str(exception).split("\n") if exception else ())]
        return "\n    ".join([lines[0], *map(printable, lines[1:])])


class _Escaped:
    """Text that the renderer is to write as it is, instead of escaping the escapes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else _Escaped(f"'{printable(value)}'")
    text = repr(value)  # what the renderer would write
    return value if text.isprintable() else _Escaped(printable(text))


_json = structlog.processors.JSONRenderer(default=str)


def _for_programs(logger: Any, name: str, event: structlog.typing.EventDict) -> str:
    return printable_json(str(_json(logger, name, event)))
