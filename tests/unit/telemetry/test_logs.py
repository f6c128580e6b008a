"""One line an event, whatever stands in it."""

from __future__ import annotations

import io
import json
import re
from typing import Literal

import pytest

from headrace.telemetry.logs import Level, make_log

HOSTILE = "a\nb\x1b[31m\u202e"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_programs_get_json_with_a_level_and_a_time() -> None:
    stream = io.StringIO()
    make_log(stream=stream).bind(model="m").warning("worker lost", exit=1, reason=None)
    event = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event.pop("timestamp"))
    assert event == {"event": "worker lost", "level": "warning", "model": "m", "exit": 1, "reason": None}


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_is_one_line_of_printable_characters(form: Literal["text", "json"]) -> None:
    stream = io.StringIO()
    make_log(form, stream=stream).info(HOSTILE, name=HOSTILE, some=[HOSTILE], **{HOSTILE: 1})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_left_out(level: str, seen: int) -> None:
    stream = io.StringIO()
    log = make_log("json", level, stream)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(stream.getvalue().splitlines()) == seen


def test_a_level_may_be_set_for_all_loggers_that_were_made_with_it() -> None:
    stream, level = io.StringIO(), Level("warning")
    log = make_log("json", level, stream)
    bound = log.bind(model="m")
    bound.info("one")
    level.set("info")
    bound.info("two")
    log.debug("three")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two"]


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        make_log(stream=stream).info("ready", model="m")
    assert json.loads(file.getvalue())["event"] == "ready"
    with pytest.raises(ValueError):
        json.loads(terminal.getvalue())
    assert "ready" in terminal.getvalue()


def test_an_exception_is_set_in_below_its_event_and_is_a_field_for_programs() -> None:
    def told(form: Literal["text", "json"]) -> str:
        stream = io.StringIO()
        make_log(form, stream=stream).exception("broke", exc_info=LookupError(HOSTILE))
        return stream.getvalue()

    first, *rest = told("text").splitlines()
    assert "broke" in first
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert any("LookupError" in line for line in rest)
    assert "LookupError" in json.loads(told("json"))["exception"]
