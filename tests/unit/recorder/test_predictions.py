"""The files of a prediction log: what survives what."""

from __future__ import annotations

import gzip
import json
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from headrace.core.protocol.records import PredictionLog
from headrace.recorder import predictions
from headrace.recorder.files import closed_files, current_file, next_file
from headrace.recorder.predictions import PredictionWriter
from headrace.recorder.reading import entries, tail
from headrace_worker import wire
from tests.unit.recorder.records import record

Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def told() -> Told:
    return []


def writer(directory: Path, told: Told, **options: Any) -> PredictionWriter:
    def tell(_: str, event: str, **fields: Any) -> None:
        told.append((event, fields))

    return PredictionWriter({"topic": PredictionLog(directory=str(directory), **options)}, tell)


def ids(directory: Path) -> list[str]:
    return [entry.request_id for entry in entries(directory, "topic")]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_everything_is_there_across_files_in_its_order(tmp_path: Path, told: Told, form: str) -> None:
    one = writer(tmp_path / "new" / "log", told, format=form, max_file_bytes=2000, keep=None)
    for i in range(50):
        assert one.write([record(2 * i), record(2 * i + 1)]) == 2
        one.tick()
    one.close()
    directory = tmp_path / "new" / "log"
    finished = closed_files(directory, "topic")
    assert len(finished) > 5
    assert {path.suffix for path in finished} == {f".{form}"}
    assert ids(directory) == [f"r-{i}" for i in range(100)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    first = next(entries(directory, "topic"))
    assert (first.request, first.answer) == ({"instances": ["text 0"]}, {"predictions": ["a"]})
    assert first.time == "2023-11-14T22:13:20.000000Z"
    assert not told


def test_only_so_many_finished_files_are_kept(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, max_file_bytes=1000, keep=3)
    for i in range(60):
        one.write([record(i)])
    assert len(closed_files(tmp_path, "topic")) == 3
    there = ids(tmp_path)
    assert there == [f"r-{i}" for i in range(60 - len(there), 60)], "the newest stay, and nothing between is missing"


def test_a_file_that_is_being_converted_is_read_once(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, format="parquet", max_file_bytes=1000)
    for i in range(6):
        one.write([record(i)])
    one.tick()
    closed_files(tmp_path, "topic")[0].with_suffix(".jsonl").write_text("the same once more\n")
    assert ids(tmp_path) == [f"r-{i}" for i in range(6)]


def test_names_go_up_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    made = []
    for now_s in (1000.0, 1000.2, 900.0, 1001.0, 1001.0):
        path = next_file(tmp_path, "topic", now_s)
        path.touch()
        made.append(path)
        assert closed_files(tmp_path, "topic")[-1] == path
    assert len(set(made)) == 5


def test_an_old_file_is_finished(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, max_file_age_s=1e-9)
    one.write([record()])
    one.tick()
    assert [len(closed_files(tmp_path, "topic")), current_file(tmp_path, "topic").exists()] == [1, False]
    one.write([record(1)])
    assert ids(tmp_path) == ["r-0", "r-1"]


def test_the_torn_line_of_a_writer_that_was_killed_goes_and_the_rest_stays(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told)
    one.write([record(0), record(1)])
    one.close()
    with current_file(tmp_path, "topic").open("ab") as file:
        file.write(b'{"time": "2023-')
    again = writer(tmp_path, told)
    again.write([record(2)])
    assert ids(tmp_path) == ["r-0", "r-1", "r-2"]


def test_what_a_killed_writer_left_unconverted_becomes_parquet(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, max_file_bytes=500)
    for i in range(5):
        one.write([record(i)])
    one.close()
    left = closed_files(tmp_path, "topic")
    left[0].with_suffix(".parquet.part").write_bytes(b"half of one")
    again = writer(tmp_path, told, format="parquet")
    again.tick()
    assert {path.suffix for path in closed_files(tmp_path, "topic")} == {".parquet"}
    assert not list(tmp_path.glob("*.part"))
    assert ids(tmp_path) == [f"r-{i}" for i in range(5)]
    assert pq.read_schema(closed_files(tmp_path, "topic")[0]).names[:3] == ["time", "request_id", "model"]


def test_two_do_not_write_to_one_file(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told)
    other = writer(tmp_path, told)
    assert told == [("prediction log failing", told[0][1])]
    assert told[0][1]["reason"] == "another headrace writes to it"
    assert (one.write([record(0)]), other.write([record(1)])) == (1, 0)
    assert ids(tmp_path) == ["r-0"]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file of this process may grow beyond 4 KiB: pytest's own output neither, so never around a whole test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_once_and_leaves_whole_lines(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_RETRY_S", 0.0)
    one = writer(tmp_path, told, keep=None)
    with small_disk():
        written = sum(one.write([record(i)]) for i in range(40))
    assert 5 < written < 40
    assert [event for event, _ in told] == ["prediction log failing"]
    assert ids(tmp_path) == [f"r-{i}" for i in range(written)]
    current_file(tmp_path, "topic").unlink()
    assert one.write([record(99)]) == 1
    assert told[1] == ("prediction log works again", {"model": "topic", "not_written": 40 - written})


def test_a_model_of_a_wildcard_has_a_log_of_its_own(tmp_path: Path, told: Told) -> None:
    one = PredictionWriter({"*": PredictionLog(directory=str(tmp_path))}, lambda *_, **__: told.append(("", {})))
    assert one.write([record(0), record(1, model="other"), record(2)]) == 3
    assert ids(tmp_path) == ["r-0", "r-2"]
    assert [entry.request_id for entry in entries(tmp_path, "other")] == ["r-1"]


@pytest.mark.parametrize(
    ("changes", "request_", "answer", "omitted"),
    [
        ({"request": None}, None, {"predictions": ["a"]}, "request: too large"),
        ({"request": b"a,b\n1,2"}, "a,b\n1,2", {"predictions": ["a"]}, ""),
        ({"request": b'{"a": NaN}'}, '{"a": NaN}', {"predictions": ["a"]}, ""),
        ({"request": b"[" * 100_000}, None, {"predictions": ["a"]}, "request: nested too deeply"),
        ({"request": b"\xff\n"}, "\\xff\n", {"predictions": ["a"]}, ""),
        ({"request": b"[" * 200 + b"]" * 200}, json.loads("[" * 200 + "]" * 200), {"predictions": ["a"]}, ""),
        ({"request": b"[" * 201 + b"]" * 201}, None, {"predictions": ["a"]}, "request: nested too deeply"),
        ({"request": b"[{}]" * 201}, "[{}]" * 201, {"predictions": ["a"]}, ""),
        ({"request": b"[" + b"{}," * 300 + b"{}]"}, [{}] * 301, {"predictions": ["a"]}, ""),
        ({"answer": b'{"a":' * 900 + b"1" + b"}" * 900}, {"instances": ["text 0"]}, None, "answer: nested too deeply"),
        ({"request": b"1" * 40}, int("1" * 40), {"predictions": ["a"]}, ""),
        ({"request": b'"\\ud800"'}, '"\\ud800"', {"predictions": ["a"]}, ""),
    ],
)
def test_bodies_of_every_kind_are_one_line(
    tmp_path: Path, told: Told, changes: dict[str, Any], request_: Any, answer: Any, omitted: str
) -> None:
    one = writer(tmp_path, told)
    assert one.write([record(0, **changes)]) == 1
    (line,) = current_file(tmp_path, "topic").read_text().splitlines()
    found = json.loads(line)
    assert (found["request"], found["answer"], found["omitted"]) == (request_, answer, omitted)


def test_an_errors_text_is_left_out_where_anything_is_redacted(tmp_path: Path, told: Told) -> None:
    answer = b'{"error_code": "BAD_REQUEST", "message": "cannot read secret"}'
    one = writer(tmp_path, told, redact=("name",))
    one.write([record(0, status=400, answer=answer, request=b'{"name": "secret"}')])
    assert "secret" not in current_file(tmp_path, "topic").read_text()
    assert next(entries(tmp_path, "topic")).answer == {"error_code": "BAD_REQUEST"}


@pytest.mark.parametrize("kind", [b"text/csv", None])
def test_what_has_no_names_is_left_out_where_anything_is_redacted(
    tmp_path: Path, told: Told, kind: bytes | None
) -> None:
    one = writer(tmp_path, told, redact=("name",))
    one.write([record(0, head=wire.head(kind), request=b'["secret"]')])
    assert "secret" not in current_file(tmp_path, "topic").read_text()
    assert next(entries(tmp_path, "topic")).omitted == "request: not JSON, so nothing can be redacted"


def test_tail_begins_with_the_last_and_follows(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, format="parquet", max_file_bytes=1000, keep=None)
    for i in range(20):
        one.write([record(i)])
        one.tick()
    assert [e.request_id for e in tail(tmp_path, "topic", 15, follow=False)] == [f"r-{i}" for i in range(5, 20)]
    following = tail(tmp_path, "topic", 1, follow=True)
    assert next(following).request_id == "r-19"
    for i in range(20, 40):
        one.write([record(i)])
        one.tick()
        assert next(following).request_id == f"r-{i}"
    for i in range(40, 60):  # several files between two looks
        one.write([record(i)])
        one.tick()
    assert [next(following).request_id for _ in range(20)] == [f"r-{i}" for i in range(40, 60)]
    following.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("size", "sent", "omitted"),
    [
        (1000, slice(None), ""),
        (1001, slice(None), "request: too large"),
        (900_000, slice(None), "request: too large"),
        (1000, slice(-9), "request: compressed, and cut off"),
    ],
)
def test_a_compressed_body_is_as_large_as_what_it_holds(
    tmp_path: Path, told: Told, size: int, sent: slice, omitted: str
) -> None:
    one = writer(tmp_path, told, max_body_bytes=1000)
    body = gzip.compress(b'"%b"' % (b"x" * (size - 2)))[sent]
    one.write([record(0, head=wire.head(b"application/json", b"gzip"), request=body)])
    (kept,) = entries(tmp_path, "topic")
    assert (kept.request, kept.omitted) == ("x" * (size - 2) if not omitted else None, omitted)


def test_lines_that_are_no_entries_are_left_out_and_said(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, format="parquet", max_file_bytes=1000, max_file_age_s=1e-9)
    one.write([record(0)])
    with current_file(tmp_path, "topic").open("ab") as file:
        file.write(b'no entry\n{}\n{"request": ' + b"[" * 5000 + b"]" * 5000 + b"}\n")
    assert [e.request_id for e in tail(tmp_path, "topic", 9, follow=False)] == ["r-0"]
    one.tick()
    (made,) = closed_files(tmp_path, "topic")
    assert made.suffix == ".parquet"
    assert ids(tmp_path) == ["r-0"]
    assert [(event, fields["lines"]) for event, fields in told] == [("prediction log lines left out", 3)]


def test_a_file_that_fits_no_column_is_set_aside_and_the_others_are_converted(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, format="parquet", max_file_age_s=1e-9, keep=2)
    one.write([record(0, rows=2**63)])
    for i in range(1, 5):
        one.tick()
        one.write([record(i)])
        if i == 2:
            assert len(list(tmp_path.glob("*.bad"))) == 1
    one.tick()
    assert [event for event, _ in told] == ["prediction log file set aside"]
    assert {path.suffix for path in closed_files(tmp_path, "topic")} == {".parquet"}
    assert ids(tmp_path) == ["r-3", "r-4"]


def test_a_finished_file_that_somebody_took_away_is_forgotten(tmp_path: Path, told: Told) -> None:
    one = writer(tmp_path, told, format="parquet", max_file_bytes=500)
    for i in range(4):
        one.write([record(i)])
    closed_files(tmp_path, "topic")[0].unlink()
    one.tick()
    assert {path.suffix for path in closed_files(tmp_path, "topic")} == {".parquet"}
    assert ids(tmp_path) == ["r-1", "r-2", "r-3"]
    assert not told


def test_a_conversion_that_fails_keeps_nothing_else_from_being_written_and_forgotten(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_RETRY_S", 0.0)
    one = writer(tmp_path, told, format="parquet", max_file_bytes=500, keep=3)
    for i in range(4):
        one.write([record(i)])
    first = closed_files(tmp_path, "topic")[0]
    first.with_suffix(".parquet.part").mkdir()  # so it cannot be made
    for i in range(4, 6):
        one.tick()
        assert one.write([record(i)]) == 1
    assert ids(tmp_path) == ["r-2", "r-3", "r-4", "r-5"], "the oldest are gone, the failing one among them"
    one.tick()
    assert {path.suffix for path in closed_files(tmp_path, "topic")} == {".parquet"}
    assert [event for event, _ in told] == ["prediction log not converted", "prediction log converted again"]
