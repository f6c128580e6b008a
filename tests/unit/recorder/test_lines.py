"""Lines of the access log and of the slow log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.core.protocol.records import ACCESS, SLOW, Record, Trace
from headrace.recorder import lines as module
from headrace.recorder.lines import LineWriter, access_line, moment, slow_line
from tests.unit.recorder.records import record


@contextmanager
def writing(path: Path, *, text: bool = False) -> Iterator[tuple[LineWriter, list[tuple[str, ...]]]]:
    told: list[tuple[str, ...]] = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        yield LineWriter(fd, text=text, tell=lambda level, event, **_: told.append((level, event))), told
    finally:
        os.close(fd)


def test_an_access_line_says_what_was_asked_and_answered_and_nothing_of_the_body() -> None:
    line = access_line(record(3, cache=b"hit", trace=Trace(b"t" * 16, b"s" * 8)))
    assert line == {
        "event": "request", "level": "info", "timestamp": "2023-11-14T22:13:23.000000Z", "request_id": "r-3",
        "model": "topic", "version": "topic/1", "route": "invocations", "status": 200, "trace_id": "74" * 16,
        "method": "POST", "path": "/invocations", "rows": 1, "bytes_in": 10, "bytes_out": 20, "queue_s": 0.001,
        "predict_s": 0.005, "total_s": 0.01, "cache": "hit", "client": "127.0.0.1",
    }  # fmt: skip


def test_an_error_says_its_code_and_whose_it_is() -> None:
    line = access_line(record(status=500, error="WORKER_DIED", model_error=True, version="", request_id=b""))
    assert (line["error_code"], line["model_error"], line["version"], line["request_id"]) == (
        "WORKER_DIED",
        True,
        None,
        None,
    )
    assert {"error_code", "model_error", "trace_id"}.isdisjoint(access_line(record()))


def test_a_slow_line_says_where_the_time_went() -> None:
    line = slow_line(record())
    assert (line["event"], line["level"], line["batch_requests"], line["rows"]) == ("slow request", "warning", 2, 1)
    assert [line[f"{part}_s"] for part in ("total", "queue", "worker", "parse", "predict", "serialise")] == [
        0.01, 0.001, 0.009, 0.0001, 0.005, 0.00005,
    ]  # fmt: skip


def test_a_record_has_a_line_in_each_log_that_wants_it(tmp_path: Path) -> None:
    records = [record(n, wanted_by=wanted) for n, wanted in enumerate((ACCESS, SLOW, ACCESS | SLOW, 0))]
    with writing(tmp_path / "log") as (writer, told):
        assert writer.write(records) == 4
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("request", "r-0"),
        ("slow request", "r-1"),
        ("request", "r-2"),
        ("slow request", "r-2"),
    ]
    assert told == []


def test_what_a_client_sends_makes_no_line_of_its_own(tmp_path: Path) -> None:
    hostile = record(wanted_by=ACCESS, path=b"/a\n\x1b[31m\xff", method=b"G\rET")
    for text in (False, True):
        with writing(tmp_path / str(text), text=text) as (writer, _):
            writer.write([hostile])
        (line,) = (tmp_path / str(text)).read_text().splitlines()
        assert line.isprintable()
    assert json.loads((tmp_path / "False").read_text())["path"] == "/a\n\x1b[31m\\xff"


def test_each_write_is_of_whole_lines_that_a_pipe_takes_at_once() -> None:
    reading, writing_ = os.pipe()
    written: list[bytes] = []
    try:
        writer = LineWriter(writing_, text=False, tell=lambda *_, **__: None)
        for _ in range(3):
            writer.write([record(n, wanted_by=ACCESS) for n in range(40)])
            written.append(os.read(reading, 1 << 20))
    finally:
        os.close(reading)
        os.close(writing_)
    made = [b"x" * size for size in (1000, 2000, 1500, 5000, 10)]
    parts = module._parts(made)
    assert b"".join(parts) == b"".join(one + b"\n" for one in made)
    assert [len(part) for part in parts] == [3002, 1501, 5001, 11]
    assert [data.count(b"\n") for data in written] == [40] * 3


def test_a_log_that_cannot_be_written_is_told_once_and_again_after_it_could(tmp_path: Path) -> None:
    told: list[Any] = []
    records: list[Record] = [record(wanted_by=ACCESS)]
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(full, text=False, tell=lambda *given, **_: told.append(given))
    try:
        assert [writer.write(records), writer.write(records)] == [0, 0]
        assert told == [("error", "access log failing")]
        os.dup2(fd, full)
        assert writer.write(records) == 1
        os.close(full)
        assert writer.write(records) == 0
        assert len(told) == 2
    finally:
        os.close(fd)


def test_a_moment_is_in_utc() -> None:
    assert moment(0.5) == "1970-01-01T00:00:00.500000Z"
