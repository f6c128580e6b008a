"""The client's pure parts: whatever comes in, nothing is lost, doubled or out of order."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.client import BadRequest
from headrace.client.cutting import cut
from headrace.client.decoding import joined
from headrace.client.encoding import Table, prepare
from headrace.client.events import EventReader
from headrace.client.files.journal import Journal
from headrace.client.files.reading import open_source
from headrace.client.files.writing import write
from headrace.core.errors import UsageError
from headrace.core.examples import made_up_example

ROWS = st.lists(st.text(max_size=30) | st.integers() | st.floats(allow_nan=False) | st.none(), max_size=200)
LIMITS = st.none() | st.integers(1, 300)


@given(ROWS, LIMITS, LIMITS)
def test_an_input_is_cut_within_its_limits_and_whole_again(
    rows: list[Any], max_rows: int | None, max_bytes: int | None
) -> None:
    parts = list(cut(prepare(rows), max_rows, max_bytes))
    assert [row for part in parts for row in json.loads(part.body)["inputs"]] == rows
    assert [p.start for p in parts] == [0, *(p.stop for p in parts[:-1])]
    assert parts[-1].stop == len(rows)
    for part in parts:
        assert max_rows is None or part.stop - part.start <= max_rows
        assert max_bytes is None or len(part.body) <= max_bytes or part.stop - part.start <= 1


@given(st.lists(st.lists(st.integers(), min_size=2, max_size=2), max_size=50), LIMITS)
def test_tables_are_cut_alike(rows: list[list[int]], max_rows: int | None) -> None:
    bodies = [
        json.loads(part.body)["dataframe_split"] for part in cut(prepare(Table(["a", "b"], rows)), max_rows, None)
    ]
    assert all(body["columns"] == ["a", "b"] for body in bodies)
    assert [row for body in bodies for row in body["data"]] == rows


@given(st.lists(st.lists(st.integers(), max_size=5), min_size=1, max_size=10))
def test_answers_are_joined_only_where_they_have_one_for_each_row(answers: list[Any]) -> None:
    rows = [len(a) for a in answers]
    assert joined(answers, rows) == [item for answer in answers for item in answer]
    assert joined(answers, [n + 1 for n in rows]) is None
    assert joined([{"a": a, "b": a} for a in answers], rows) == {
        name: [item for answer in answers for item in answer] for name in ("a", "b")
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20)


@given(st.lists(TEXTS.filter(bool), max_size=20), st.data(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_events_are_read_in_any_pieces(texts: list[str], data: st.DataObject, end: str) -> None:
    stream = "".join(f"event: e{end}data: {text}{end}: a comment{end}{end}" for text in texts).encode() + b":\n"
    reader, got = EventReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert [(event.kind, event.data) for event in got] == [("e", text) for text in texts]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12) | st.integers().map(str)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=30), st.integers(1, 40))
def test_a_csv_comes_out_as_it_went_in(tmp_path: Path, rows: list[tuple[str, str]], size: int) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *rows])
    source = open_source(path, None)
    chunks = list(source.chunks(size))
    assert source.rows == len(rows) == sum(len(c.records) for c in chunks)
    for number in (0, 1):
        kinds = {type(row[number]) for chunk in chunks for row in chunk.inputs.rows} - {type(None)}
        assert len(kinds) <= 1, "one type for a whole column"
    write(out, source, lambda: ((c.records, list(range(c.start, c.stop))) for c in source.chunks(size)))
    with out.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["a", "b", "prediction"],
            *([a, b, str(n)] for n, (a, b) in enumerate(rows)),
        ]


@pytest.mark.parametrize(
    ("cells", "typed"),
    [
        (["1", "2", ""], [1, 2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "NaN", "1e3"], [1.0, None, 1000.0]),
        (["007", "8"], ["007", "8"]),
        (["12345678901234567890"], ["12345678901234567890"]),
        (["9007199254740993", "0.5"], ["9007199254740993", "0.5"]),
        (["1_000"], ["1_000"]),
        (["-0.5", "inf", "0"], [-0.5, math.inf, 0.0]),
        (["1", "x", ""], ["1", "x", ""]),
    ],
)
def test_a_column_has_the_narrowest_type_of_all_of_its_cells(
    tmp_path: Path, cells: list[str], typed: list[Any]
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("c,d\n" + "".join(f"{cell},x\n" for cell in cells), encoding="utf-8")
    (chunk,) = open_source(path, "c").chunks(10)
    assert chunk.inputs == typed


def written(source: Path, out: Path, predictions: list[Any]) -> Path:
    opened = open_source(source, None)
    write(out, opened, lambda: ((c.records, predictions[c.start : c.stop]) for c in opened.chunks(2)))
    return out


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_only_a_line_end_ends_a_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(f"\ufeffa\u2028b\n\nc\x0cd\x85e{end}".encode())
    (chunk,) = open_source(path, None).chunks(10)
    assert chunk.inputs == ["a\u2028b", "", "c\x0cd\x85e"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    for name, text in (("in.jsonl", '{"a": 1}\n'), ("in.csv", "a\n1\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert open_source(tmp_path / name, None).columns == ("a",)


def test_a_long_cell_is_read_and_a_doubled_name_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"a,b\n1,{'x' * 300_000}\n", encoding="utf-8")
    (chunk,) = open_source(path, "b").chunks(10)
    assert len(chunk.inputs[0]) == 300_000
    path.write_text("a,b,a\n1,2,3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="more than one column is named 'a'"):
        open_source(path, None)
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "in.parquet")
    with pytest.raises(UsageError, match="more than one column is named 'a'"):
        open_source(tmp_path / "in.parquet", None)


def test_nothing_of_uneven_rows_and_answers_is_lost(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    rows: list[dict[str, Any]] = [{"a": 1}, {"b": "x", "prediction": 7}, {"c": 1.5}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers: list[Any] = [{"p": 1}, {"q": "y"}, {"p": 2, "q": "\ud800"}]
    lines = written(source, tmp_path / "out.jsonl", answers).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {**row, "prediction_": answer} for row, answer in zip(rows, answers, strict=True)
    ]

    def cells_of(answers: list[Any]) -> list[list[str]]:
        return list(csv.reader(written(source, tmp_path / "out.csv", answers).read_text(encoding="utf-8").splitlines()))

    cells = cells_of(answers)
    assert cells[0] == ["a", "b", "prediction", "c", "prediction.p", "prediction.q"]
    assert [row[4:] for row in cells[1:]] == [["1", ""], ["", "y"], ["2", "\\ud800"]]
    assert [row[-1] for row in cells_of([{"p": 1}, "x", 2])] == ["prediction_", '{"p": 1}', "x", "2"]
    table = pq.read_table(written(source, tmp_path / "out.parquet", [1, 2, 3]))
    assert table.column_names == ["a", "b", "prediction", "c", "prediction_"]
    assert table.column("c").to_pylist() == [None, None, 1.5]
    for unfit in (["a", 1, {}], ["\ud800", "", ""]):
        with pytest.raises(UsageError, match="the column 'prediction_' cannot be written as Parquet"):
            written(source, tmp_path / "unfit.parquet", unfit)


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int8()),
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "t": pa.array([0, 1], pa.timestamp("ms", "Europe/Berlin")),
            "none": pa.array([None, None], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    found = pq.read_table(written(tmp_path / "in.parquet", tmp_path / "out.parquet", ["a", "b"]))
    assert found.drop_columns(["prediction"]).schema.remove_metadata() == table.schema
    assert found.drop_columns(["prediction"]).to_pylist() == table.to_pylist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.lists(TEXTS, max_size=3), max_size=8), st.data())
def test_a_journal_cut_anywhere_keeps_its_whole_lines(
    tmp_path: Path, chunks: list[list[str]], data: st.DataObject
) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    ends = []
    with Journal(path, {"job": 1}) as journal:
        ends.append(path.stat().st_size)
        for number, predictions in enumerate(chunks):
            journal.add(number, predictions)
            ends.append(path.stat().st_size)
    at = data.draw(st.integers(0, ends[-1]))
    with path.open("r+b") as file:
        file.truncate(at)
    whole = max(0, sum(end <= at for end in ends) - 1)
    with Journal(path, {"job": 1}) as journal:
        assert len(journal) == whole
        assert [journal.predictions(n) for n in range(whole)] == chunks[:whole]
        journal.add(whole, ["more"])
    with Journal(path, {"job": 1}) as journal:
        assert journal.predictions(whole) == ["more"]


def test_a_journal_belongs_to_one_job_and_one_process(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"model": "a", "params": None}), pytest.raises(UsageError, match="another process"):
        Journal(path, {"model": "a", "params": None})
    with pytest.raises(UsageError, match="differs in: model"):
        Journal(path, {"model": "b", "params": None})


@pytest.mark.parametrize("data", ["text", b"x", 1, None, {1}, object(), {1: ["a"], "1": ["b"]}])
def test_what_is_no_input_is_refused(data: Any) -> None:
    with pytest.raises(BadRequest):
        prepare(data).whole()


@pytest.mark.parametrize(
    ("data", "params", "body"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, None, {"messages": [{"role": "user", "content": "hi"}]}),
        ({"prompt": "hi"}, {"temperature": 0}, {"prompt": "hi", "temperature": 0}),
        ({"prompt": ["hi"]}, None, {"inputs": {"prompt": ["hi"]}}),
        ({"x": [b"a"]}, None, {"dataframe_split": {"columns": ["x"], "data": [["YQ=="]]}}),
        ({"x": 1}, None, {"inputs": {"x": 1}}),
        ({"x": range(2)}, None, {"inputs": {"x": [0, 1]}}),
        (["a"], {"p": 1}, {"inputs": ["a"], "params": {"p": 1}}),
        ([], None, {"inputs": []}),
    ],
)
def test_which_key_an_input_is_sent_under(data: Any, params: Any, body: Any) -> None:
    assert json.loads(prepare(data, params).whole()) == body


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ([{"type": "string", "name": "s"}], {"dataframe_split": {"columns": ["s"], "data": [["a text"]]}}),
        ([{"type": "string"}], {"inputs": ["a text"]}),
        (
            [{"type": "double", "name": "x"}, {"type": "long", "name": "n", "required": False}],
            {"dataframe_split": {"columns": ["x"], "data": [[1.0]]}},
        ),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}], {"inputs": [[1, 1]]}),
        (
            [{"type": "array", "name": "a", "items": {"type": "long"}}],
            {"dataframe_split": {"columns": ["a"], "data": [[[1]]]}},
        ),
        ([{"type": "new kind", "name": "a"}], None),
        ([], None),
    ],
)
def test_an_example_is_made_of_a_signature(inputs: Any, body: Any) -> None:
    assert made_up_example({"inputs": json.dumps(inputs)}) == body
