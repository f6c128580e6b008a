"""What a body costs grows as its size does: the work for a body twice as large is at most about twice as much."""

import functools
import gzip
import itertools
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from mlflow.types import Schema, TensorSpec
from numpy import dtype

from headrace_worker import wire
from tests.unit.worker.models import NUMBER, TEXT, ask, load
from tests.unit.worker.work import work

SMALLEST = 200
DOUBLINGS = 3
JSON, CSV = "application/json", "text/csv"


class Form(NamedTuple):
    """One way to fill a body; `make` makes one of a size, of a model with these inputs."""

    make: Callable[[int], Any]
    inputs: Schema | None = None
    kind: str = JSON
    coding: str = ""


def names(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


def big(n: int) -> int:
    """An integer of nearly as many digits as are taken."""
    return 10**3900 + n


FORMS: dict[str, Form] = {
    "records, many rows": Form(lambda n: {"dataframe_records": [{"x": 1.5, "y": i} for i in range(n)]}),
    "records, many columns": Form(lambda n: {"dataframe_records": [dict.fromkeys(names(n), 1.5)]}),
    "split, many rows": Form(lambda n: {"dataframe_split": {"columns": ["x", "y"], "data": [[1.5, "a"]] * n}}),
    "split, many columns": Form(lambda n: {"dataframe_split": {"columns": names(n), "data": [[1.5] * n]}}),
    "columns below inputs": Form(lambda n: {"inputs": {name: [1.5] for name in names(n)}}),
    "objects below instances": Form(lambda n: {"instances": [dict.fromkeys(names(n), 1.5)]}),
    "columns that the signature lacks": Form(
        lambda n: {"dataframe_records": [{"x": 1.5, **dict.fromkeys(names(n), "a")}]}, NUMBER
    ),
    "numbers": Form(lambda n: {"inputs": [1.5] * n}, NUMBER),
    "texts": Form(lambda n: {"instances": ["a"] * n}, TEXT),
    "one text": Form(lambda n: {"instances": ["a" * n]}, TEXT),
    "lists": Form(lambda n: {"inputs": [[1.5, 2.5]] * n}),
    "a tensor": Form(lambda n: {"inputs": [[[1.5, 2]] * 2] * n}, Schema([TensorSpec(dtype("float32"), (-1, 2, 2))])),
    "integers of many digits": Form(lambda n: {"inputs": [big(i) for i in range(n // 20)]}),
    "integers of many digits in a text": Form(lambda n: {"inputs": [str(big(i)) for i in range(n // 20)]}),
    "gzip, empty members": Form(lambda n: gzip.compress(b"", mtime=0) * n, coding="gzip"),
    "gzip, small members": Form(
        lambda n: b"".join(gzip.compress(b, mtime=0) for b in [b'{"inputs": [1', *[b",1"] * n, b"]}"]), coding="gzip"
    ),
    "gzip, padding": Form(lambda n: gzip.compress(b'{"inputs": [1]}', mtime=0) + b"\0" * n, coding="gzip"),
    "deflate": Form(lambda n: zlib.compress(json.dumps({"inputs": [1.5] * n}).encode()), coding="deflate"),
    "CSV, many rows": Form(lambda n: b"x,y\n" + b"1,a\n" * n, kind=CSV),
    "CSV, many columns": Form(lambda n: f"{','.join(names(n))}\n{'1,' * (n - 1)}1\n".encode(), kind=CSV),
}


@pytest.mark.parametrize("errors", ["mlflow", "strict"])
@pytest.mark.parametrize("form", FORMS)
def test_twice_the_size_is_twice_the_work(form: str, errors: str) -> None:
    make, inputs, kind, coding = FORMS[form]
    spent = []
    for size in (SMALLEST << i for i in range(DOUBLINGS + 1)):
        body = make(size)
        head = wire.head(kind.encode(), coding.encode())
        ask(load(count, inputs, errors=errors)[0], body, head=head)  # whatever is imported or made once
        scorer, impl = load(count, inputs, errors=errors)
        spent.append(work(functools.partial(ask, scorer, body, head=head)))
        spent[-1] += sum(getattr(data, "size", 0) for data in impl.calls)
    growth = [after / before for before, after in itertools.pairwise(spent)]
    # Above some size limits are looked for, which is a step; what takes the square of the size grows by nearly 4.
    assert growth[-1] < 2.7, (spent, growth)


def count(data: Any, _params: Any) -> list[int]:
    return [0] * len(next(iter(data.values())) if isinstance(data, dict) else data)
