"""Logs: one line an event, for people on a terminal and as JSON otherwise, always on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO, TypeAlias

import structlog

Log: TypeAlias = structlog.typing.FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def make_log(form: Literal["auto", "text", "json"] = "auto", level: str = "info", stream: TextIO | None = None) -> Log:
    """A logger that writes to `stream` (standard error); `auto` is text on a terminal and JSON elsewhere."""
    stream = sys.stderr if stream is None else stream
    text = form == "text" or (form == "auto" and stream.isatty())
    renderer: structlog.typing.Processor
    if text:
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, sort_keys=False)
    else:
        stamp = structlog.processors.TimeStamper(fmt="iso")
        renderer = structlog.processors.JSONRenderer(default=str)
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return log
