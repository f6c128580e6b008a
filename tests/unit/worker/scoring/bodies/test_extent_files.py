"""Small CSV and Parquet bodies that stand for large tables are refused before they are made."""

import io
import random
from collections.abc import Callable

import pandas as pd
import pytest

from headrace_worker import wire
from headrace_worker.scoring.bodies import extent_files
from headrace_worker.scoring.bodies.extent import MAX_COLUMNS, Bounds
from headrace_worker.scoring.bodies.extent_files import MAX_INDEX, MAX_ODD_NAMES
from tests.unit.worker.forms import count
from tests.unit.worker.models import ask, error, load

SIDE = 5_000  # of a square of 25 million cells
CSV = wire.head(b"text/csv")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b",".join(b"c%d" % i for i in range(SIDE)) + b"\n1" * SIDE, "nearly empty"),
        (b",".join(b'"c%d\n,"' % i for i in range(SIDE)) + b"\r\n1" * SIDE, "nearly empty"),
        (b"\n \n" + b",".join(b"c%d" % i for i in range(MAX_COLUMNS + 1)) + b"\n1\n", "20001 columns"),
        (b"c," * MAX_ODD_NAMES + b"d\n1\n", "Give each column a name of its own"),
        (b"," * MAX_ODD_NAMES + b"\n1\n", "Give each column a name of its own"),
        (
            b'"c",c,' + b",".join(b"d%d" % i for i in range(MAX_ODD_NAMES)) + b"\n1\n",
            "Give each column a name of its own",
        ),
        (b"c\n" + b"1," * (MAX_INDEX + 1) + b"1\n", "Name all columns"),
        (b'c\n"a""\n,' + b"1," * 500 + b'b"' + b",1" * (MAX_INDEX + 1), "Name all columns"),
    ],
    ids=["short rows", "quoted", "wide", "repeated", "empty", "repeated in quotes", "index", "quoted index"],
)
def test_csv_beyond_the_bounds_is_a_400(body: bytes, message: str) -> None:
    scorer, impl = load(count)
    (answer,) = ask(scorer, body, head=CSV)
    assert (answer.status, impl.calls) == (400, [])
    assert message in error(answer)["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"\n\n x,y\n1,2\n\n\n3,4",
        b'x,y\r\n"a\r\n,""b",2\r\n3,4\r\n',
        b"x,y\n0,1,2\n1,3,4\n",
        b"x\n" + b'"' + b"\n" * 2_000_000 + b'"\n',
        b",".join(b"c%d" % i for i in range(100)) + b"\n" + b'"' + b"\n" * 200_000 + b'"' + b",1" * 99 + b"\n",
    ],
    ids=["blank lines", "quotes", "index", "a long text", "a long text among others"],
)
def test_csv_as_it_is_written_is_read(body: bytes) -> None:
    extent_files.check_csv(body, Bounds(None))
    extent_files.check_csv(body.replace(b",", b";"), Bounds(None), b";")


def test_no_field_of_a_csv_line_is_overlooked() -> None:
    made = random.Random(1)
    for _ in range(300):
        body = "".join(made.choices('ab,"\n\r', weights=[4, 4, 4, 3, 1, 1], k=made.randrange(1, 30)))
        try:
            wanted = pd.read_csv(io.StringIO(body), header=None, nrows=1, index_col=False)
        except Exception:  # noqa: BLE001, S112 - nothing to be compared
            continue
        fields, _ = extent_files._record(body.encode(), 0, b",", 100)
        # One more where pandas loses an empty field: the first of a line after a lone carriage return.
        assert len(wanted.columns) <= len(fields) <= len(wanted.columns) + 1, body


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, compression="zstd")
    return file.getvalue()


@pytest.mark.parametrize(
    "frame",
    [  # made in the test: half a gigabyte each
        lambda: pd.DataFrame({f"c{i}": pd.array([1.0], dtype="float64").repeat(2_000_000) for i in range(35)}),
        lambda: pd.DataFrame({"text": ["x" * 100_000] * 5_500}),
        lambda: pd.DataFrame({"texts": [["x" * 100_000] * 100] * 55}),
    ],
    ids=["numbers", "texts", "lists of texts"],
)
def test_parquet_that_holds_far_more_than_it_seems_is_a_400(frame: Callable[[], pd.DataFrame]) -> None:
    body = parquet(frame())
    assert len(body) < 1_000_000
    scorer, impl = load(count)
    (answer,) = ask(scorer, body, head=wire.head(b"application/vnd.apache.parquet"))
    assert (answer.status, impl.calls) == (400, [])
    assert "Send fewer rows at a time" in error(answer)["message"]


def test_parquet_as_it_is_written_is_read() -> None:
    frame = pd.DataFrame({"x": range(5_000), "text": ["a text"] * 4_999 + ["x" * 10_000_000]})
    extent_files.check("application/vnd.apache.parquet", parquet(frame), Bounds(None))
