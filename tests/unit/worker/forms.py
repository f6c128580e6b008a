"""Bodies of every form and of any size: what a scorer may be sent, valid or not."""

import datetime as dt
import gzip
import io
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd
from mlflow.types import ColSpec, DataType, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property
from numpy import dtype

from headrace_worker import wire
from tests.unit.worker.models import NUMBER, TEXT

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


class Form(NamedTuple):
    """One way to fill a body; `make` makes one of a size, for a model with these inputs and params.

    `status` is what it is answered with. `plain` undoes the coding, which MLflow does not know. `is_beyond`: refused
    for a bound that MLflow does not have, so that it would take minutes or all memory for it.
    """

    make: Callable[[int], Any]
    inputs: Schema | None = None
    kind: str = JSON
    coding: str = ""
    status: int = 200
    params: list[ParamSpec] | None = None
    plain: Callable[[bytes], bytes] = bytes
    is_beyond: bool = False

    @property
    def head(self) -> bytes:
        """The head that a gateway makes of such a request."""
        return wire.head(self.kind.encode(), self.coding.encode())

    def body(self, size: int) -> bytes:
        """A body of this form."""
        made = self.make(size)
        return made if isinstance(made, bytes) else json.dumps(made).encode()


def names(n: int) -> list[str]:
    """Names of columns."""
    return [f"c{i}" for i in range(n)]


def count(data: Any, _params: Any) -> list[int]:
    """A model that looks at nothing but the number of rows."""
    return [0] * len(next(iter(data.values())) if isinstance(data, dict) and data else data)


def _big(n: int) -> int:
    """An integer of nearly as many digits as are taken."""
    return 10**3900 + n


def _moment(n: int) -> str:
    """One of as many dates as are wanted."""
    return (dt.datetime(2024, 2, 29) + dt.timedelta(seconds=n)).isoformat()  # noqa: DTZ001 - the zone is put behind it


def _deep(depth: int) -> bytes:
    return b"[" * depth + b"1" + b"]" * depth


def _records(**row: Any) -> Callable[[int], Any]:
    return lambda n: {"dataframe_records": [row] * n}


def _parquet(make: Callable[[int], dict[str, Any]]) -> Callable[[int], bytes]:
    def made(n: int) -> bytes:
        file = io.BytesIO()
        pd.DataFrame(make(n)).to_parquet(file)
        return file.getvalue()

    return made


def _members(n: int) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in [b'{"inputs": [1', *[b",1"] * n, b"]}"])


LONG = Schema([ColSpec("long", "x", required=False)])
BYTES = Schema([ColSpec("binary", "x")])
DATES = Schema([ColSpec("datetime", "x")])
NESTED = Schema(
    [
        ColSpec(Array(Object([Property("id", DataType.double), Property("n", DataType.string, required=False)])), "o"),
        ColSpec(Map(DataType.double), "m", required=False),
        ColSpec(Array(Array(DataType.double)), "g", required=False),
    ]
)
TENSOR = Schema([TensorSpec(dtype("float32"), (-1, 2, 2))])
NUMBERS = [ParamSpec("k", "long", [1], (-1,))]

FORMS: dict[str, Form] = {
    "records, many rows": Form(lambda n: {"dataframe_records": [{"x": 1.5, "y": i} for i in range(n)]}),
    "records, many columns": Form(lambda n: {"dataframe_records": [dict.fromkeys(names(n), 1.5)]}),
    "records, columns of two types": Form(
        lambda n: {"dataframe_records": [{name: (1.5, "a")[i % 2] for i, name in enumerate(names(n))}]}
    ),
    "records, surplus columns": Form(
        lambda n: {"dataframe_records": [{"x": 1.5, **dict.fromkeys(names(n), "a")}]}, NUMBER
    ),
    "records, a column each": Form(
        lambda n: {"dataframe_records": [{name: 1.5} for name in names(8 * n)]}, status=400, is_beyond=True
    ),
    "split, many rows": Form(lambda n: {"dataframe_split": {"columns": ["x", "y"], "data": [[1.5, "a"]] * n}}),
    "split, many columns": Form(lambda n: {"dataframe_split": {"columns": names(n), "data": [[1.5] * n]}}),
    "split, with labels": Form(
        lambda n: {"dataframe_split": {"columns": ["x"], "index": list(range(n)), "data": [[1.5]] * n}}
    ),
    "split, one scalar": Form(
        lambda n: {"dataframe_split": {"columns": names(8 * n), "index": names(8 * n), "data": 1}},
        status=400,
        is_beyond=True,
    ),
    "inputs, columns": Form(lambda n: {"inputs": {name: [1.5] for name in names(n)}}),
    "inputs, objects": Form(lambda n: {"inputs": [{"x": 1.5}] * n}, NUMBER),
    "instances, objects": Form(lambda n: {"instances": [dict.fromkeys(names(n), 1.5)]}),
    "instances, surplus keys": Form(lambda n: {"instances": [{"x": 1.5, "y": "a" * 9}] * n}, NUMBER),
    "numbers": Form(lambda n: {"inputs": [1.5] * n}, NUMBER),
    "numbers of two types": Form(lambda n: {"inputs": [1.5, 2] * n}),
    "numbers that do not fit": Form(lambda n: {"inputs": [1.5] * n + ["a"]}, NUMBER, status=400),
    "texts": Form(lambda n: {"instances": ["a"] * n}, TEXT),
    "one text": Form(lambda n: {"instances": ["a" * n]}, TEXT),
    "one text of escapes": Form(lambda n: {"instances": ['"\\\n' * n]}, TEXT),
    "a long text and many short ones": Form(
        lambda n: {"instances": ["a" * 100 * n] + ["a"] * 100 * n}, TEXT, status=400, is_beyond=True
    ),
    "lists": Form(lambda n: {"inputs": [[1.5, 2.5]] * n}),
    "uneven lists": Form(lambda n: {"inputs": [[1.5] * (i % 3) for i in range(n)]}, status=400),
    "deep lists": Form(lambda n: b'{"inputs": [' + b",".join([_deep(60)] * n) + b"]}"),
    "lists that are too deep": Form(
        lambda n: b'{"inputs": [' + b",".join([_deep(600)] * n) + b"]}", status=400, is_beyond=True
    ),
    "a tensor": Form(lambda n: {"inputs": [[[1.5, 2]] * 2] * n}, TENSOR),
    "a tensor that does not fit": Form(lambda n: {"inputs": [[[1.5, 2]] * 2] * n + [[1]]}, TENSOR, status=400),
    "integers of many digits": Form(lambda n: {"inputs": [_big(i) for i in range(n // 20)]}),
    "an integer of too many digits": Form(
        lambda n: b'{"inputs": [' + b"1" * 30 * n + b"]}", status=400, is_beyond=True
    ),
    "a fraction of many digits": Form(lambda n: b'{"inputs": [0.' + b"1" * n + b"]}"),
    "digits in texts": Form(lambda n: {"inputs": [str(_big(i)) for i in range(n // 20)]}),
    "base64": Form(_records(x="AAAA"), BYTES),
    "one value in base64": Form(lambda n: {"dataframe_records": [{"x": "AAAA" * n}]}, BYTES),
    "dates": Form(_records(x="2024-02-29"), DATES),
    "dates with a zone": Form(_records(x="2024-02-29T00:00:00Z"), DATES),
    "dates with a zone, each another": Form(
        lambda n: {"dataframe_records": [{"x": f"{_moment(i)}Z"} for i in range(n)]}, DATES
    ),
    "dates with several zones": Form(
        lambda n: {"dataframe_records": [{"x": f"{_moment(i)}+0{i % 3}:00"} for i in range(n)]}, DATES
    ),
    "no dates": Form(_records(x="tomorrow"), DATES, status=400),
    "nulls among integers": Form(lambda n: {"dataframe_records": [{"x": None}, *[{"x": 1}] * n]}, LONG),
    "as many nulls as integers": Form(
        lambda n: {"dataframe_records": [{"x": (None, 1)[i % 2]} for i in range(n)]}, LONG
    ),
    "nested rows": Form(_records(o=[{"id": 1.5}], m={"a": 1.5}), NESTED),
    "one nested row": Form(
        lambda n: {"dataframe_records": [{"o": [{"id": 1.5}] * n, "m": dict.fromkeys(names(n), 1.5)}]}, NESTED
    ),
    "nested integers": Form(_records(o=[{"id": 1}], g=[[1, 2]]), NESTED),
    "nested values that do not fit": Form(lambda n: {"inputs": [{"o": [{"id": 1.5}] * n + ["a"]}]}, NESTED, status=400),
    "params": Form(lambda n: {"inputs": [1.5], "params": {"k": [1] * n}}, NUMBER, params=NUMBERS),
    "params as texts": Form(lambda n: {"inputs": [1.5], "params": {"k": ["1"] * n}}, NUMBER, params=NUMBERS),
    "many params": Form(lambda n: {"inputs": [1.5], "params": dict.fromkeys(names(n), 1)}, NUMBER, params=NUMBERS),
    "messages": Form(lambda n: {"messages": [{"role": "user", "content": "a"}] * n}),
    "unknown keys": Form(lambda n: dict.fromkeys(names(n), 1), status=400),
    "no JSON": Form(lambda n: b"[" + b"1," * n, status=400),
    "no UTF-8": Form(lambda n: b'{"inputs": ["' + b"\xff" * n + b'"]}', status=400),
    "gzip": Form(
        lambda n: gzip.compress(json.dumps({"inputs": [1.5] * n}).encode(), mtime=0),
        coding="gzip",
        plain=gzip.decompress,
    ),
    "gzip, empty members": Form(
        lambda n: gzip.compress(b"", mtime=0) * 12 * n, coding="gzip", status=400, is_beyond=True, plain=gzip.decompress
    ),
    "gzip, small members": Form(_members, coding="gzip", plain=gzip.decompress),
    "gzip, padding": Form(
        lambda n: gzip.compress(b'{"inputs": [1]}', mtime=0) + b"\0" * n, coding="gzip", plain=gzip.decompress
    ),
    "deflate": Form(
        lambda n: zlib.compress(json.dumps({"inputs": [1.5] * n}).encode()), coding="deflate", plain=zlib.decompress
    ),
    "CSV, many rows": Form(lambda n: b"x,y\n" + b"1,a\n" * n, kind=CSV),
    "CSV, many columns": Form(lambda n: f"{','.join(names(n))}\n{'1,' * (n - 1)}1\n".encode(), kind=CSV),
    "CSV, rows that are too short": Form(
        lambda n: ",".join(names(4 * n)).encode() + b"\n1" * 4 * n, kind=CSV, status=400, is_beyond=True
    ),
    "CSV, one name for all columns": Form(
        lambda n: b"c," * 16 * n + b"c\n" + b"1," * 16 * n + b"1", kind=CSV, status=400, is_beyond=True
    ),
    "CSV, quotes": Form(lambda n: b'x,y\n"a""\n,b",1\n' + b'"a",2\n' * n, kind=CSV),
    "CSV, blank lines": Form(lambda n: b"\n" * n + b"x\n" + b"\r\n" * n + b"1\n", kind=CSV),
    "CSV, dates": Form(lambda n: b"x\n" + b"2024-02-29\n" * n, DATES, kind=CSV),
    "CSV, dates with a zone": Form(lambda n: b"x\n" + b"2024-02-29T00:00:00Z\n" * n, DATES, kind=CSV),
    "CSV, dates with a zone, each another": Form(
        lambda n: b"x\n" + b"".join(b"%bZ\n" % _moment(i).encode() for i in range(n)), DATES, kind=CSV
    ),
    "CSV, semicolons": Form(lambda n: b"x;y\n" + b"1.5;a\n" * n, NUMBER, kind=CSV),
    "CSV, no numbers": Form(lambda n: b"x\n" + b"a\n" * n, NUMBER, kind=CSV, status=400),
    "CSV, no UTF-8": Form(lambda n: b"x\n" + b"\xff\n" * n, NUMBER, kind=CSV, status=400),
    "Parquet, many rows": Form(_parquet(lambda n: {"x": [1.5] * n, "y": ["a"] * n}), kind=PARQUET),
    "Parquet, many columns": Form(_parquet(lambda n: {name: [1.5] for name in names(n)}), kind=PARQUET),
    "Parquet, texts": Form(_parquet(lambda n: {"text": [f"{i}" * 20 for i in range(n)]}), TEXT, kind=PARQUET),
    "no Parquet": Form(lambda n: b"PAR1" + b"\xff" * n + b"PAR1", kind=PARQUET, status=400),
}
