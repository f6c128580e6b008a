"""Whatever text others give: one line stays one line, in printable characters; a header value is a header value."""

import contextlib
import io
import json
import re
import tempfile
from typing import Any, Literal

import click
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from headrace.cli.rich_text import plain
from headrace.cli.saying import say, say_json, say_marked
from headrace.cli.status import table
from headrace.core.escaping import header_bytes, header_value, loads_encodable, printable, printable_json
from headrace.core.protocol.records import ACCESS
from headrace.recorder.lines import LineWriter, access_line
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.telemetry.exposition import exposition
from headrace.telemetry.logs import make_log
from tests.unit.recorder.records import record

# RFC 9110 5.5: field-content, as bytes; obs-text may stand in it.
FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\x20\t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
HOSTILE = (
    "\x1b[2J", "\x1b]0;title\x07", "a\r\nb", "\x00", "\x7f", "\x9b31m", "\u202ecod.exe", "\ud800", "\u2028", "[/bold]",
    "[link=http://x]a[/link]",
)  # fmt: skip

any_text = st.one_of(
    st.text(st.characters(), max_size=40), st.lists(st.sampled_from([*HOSTILE, "a", " "]), max_size=6).map("".join)
)


def hostile(test: Any) -> Any:
    for text in HOSTILE:
        test = example(text)(test)
    return test


def lines_of(text: str) -> list[str]:
    """The lines of what was written: split at line feeds alone, for nothing else may end one."""
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    for line in lines:
        assert line.isprintable(), repr(line)
        line.encode()
    return lines


@hostile
@given(any_text)
def test_text_becomes_one_printable_line_and_printable_text_is_left_alone(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert not text.isprintable() or shown == text


@hostile
@given(any_text)
def test_a_header_value_is_one(text: str) -> None:
    assert FIELD_VALUE.fullmatch(header_value(text))
    assert header_value(text).isascii()
    assert FIELD_VALUE.fullmatch(header_bytes(text.encode("utf-8", "replace")))


@hostile
@given(any_text)
def test_json_says_the_same_in_printable_characters(text: str) -> None:
    value = {text: [text, {"a": text}]}
    for indent in (None, 2):
        shown = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert all(line.isprintable() for line in shown.split("\n"))
        assert json.loads(shown) == value
    told = bytes(PrintableJSON(value).body).decode()
    assert told.isprintable()
    assert json.loads(told) == value


@hostile
@given(any_text)
def test_what_a_worker_says_can_be_encoded(text: str) -> None:
    said = loads_encodable(json.dumps({"event": "failed", "reason": text}).encode())
    msgspec.json.encode(said)
    if not re.search("[\ud800-\udfff]", text):
        assert said["reason"] == text


@hostile
@given(any_text)
def test_a_log_line_is_one_line(text: str) -> None:
    forms: tuple[Literal["text", "json"], ...] = ("text", "json")
    for form in forms:
        stream = io.StringIO()
        log = make_log(form, stream=stream)
        log.info(text, reason=text, many=[text], by_name={text: text}, error=ValueError(text))
        (line,) = lines_of(stream.getvalue())
        if form == "json":
            assert json.loads(line)["reason"] == text


@hostile
@given(any_text)
def test_no_line_of_an_exception_looks_like_a_line_of_the_log(text: str) -> None:
    stream = io.StringIO()
    make_log("text", stream=stream).exception("a model broke", exc_info=ValueError(text))
    first, *others = lines_of(stream.getvalue())
    assert "a model broke" in first
    assert others
    assert all(line.startswith("    ") for line in others)


@hostile
@given(any_text)
def test_a_line_for_a_request_is_one_line(text: str) -> None:
    raw = text.encode("utf-8", "backslashreplace")
    one = record(wanted_by=ACCESS, path=raw, model=printable(text), version=raw.decode(), request_id=raw)
    for text_form in (True, False):
        with memory_file() as file:
            assert LineWriter(file.fileno(), text=text_form, tell=print).write([one])
            file.seek(0)
            (line,) = lines_of(file.read().decode())
        if not text_form:
            assert json.loads(line)["path"] == access_line(one)["path"]


def memory_file() -> Any:
    return tempfile.TemporaryFile()


@hostile
@given(any_text)
def test_the_commands_print_one_line(text: str) -> None:
    with captured() as written:
        say(text)
        say_marked("x", "red", text)
        say_json({text: text})
    assert len(lines_of(click.unstyle(written.getvalue()))) == 3


def captured() -> Any:
    return contextlib.redirect_stdout(io.StringIO())


@hostile
@given(any_text)
def test_tables_show_markup_and_controls_as_they_are_written(text: str) -> None:
    now = {"requests_per_s": 1.0, "p50_ms": 1.5, "p99_ms": 2.0, "error_rate": 0.0}
    model = {
        "name": text, "port": 1, "url": None, "state": "FAILED", "ready": False, "held": False, "now": now,
        "replicas": {"ready": 0, "wanted": 1}, "current": {"label": text}, "candidate": None, "sides": {},
        "now_by_version": {}, "reason": text, "problem": "", "registry_problem": "",
    }  # fmt: skip
    console = Console(width=4096, force_terminal=False, file=io.StringIO())
    console.print(table({"models": [model]}, 4096))
    console.print(plain(text))
    lines = lines_of(console.file.getvalue())  # type: ignore[attr-defined] # a StringIO
    assert len(lines) == 3
    assert lines[2] == printable(text)


@hostile
@given(any_text)
def test_labels_of_metrics_are_printable(text: str) -> None:
    samples = [("headrace_requests_total", (("model", text), ("version", text), ("code", "200")), 1.0)]
    lines_of(exposition(samples).decode())
