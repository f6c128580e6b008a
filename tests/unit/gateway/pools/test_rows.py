"""The estimate is exact for the usual bodies, never far too low, and costs nothing for huge ones."""

from __future__ import annotations

import json

import pytest

from headrace.gateway.pools.rows import estimate_rows

JSON = b"application/json\n\n"


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ({"instances": ["Technology news"]}, 1),
        ({"instances": ["one, two", "three"]}, 2),
        ({"instances": [1, 2, 3]}, 3),
        ({"inputs": [[1, 2], [3, 4], [5, 6]]}, 3),
        ({"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}, 2),
        ({"inputs": "one text"}, 1),
        ({}, 1),
    ],
)
def test_usual_bodies(body: object, rows: int) -> None:
    assert estimate_rows(JSON, json.dumps(body).encode()) == rows


def test_split_counts_its_own_lists_as_well() -> None:
    body = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]] * 50}}
    assert 50 <= estimate_rows(JSON, json.dumps(body).encode()) <= 52


def test_columns_are_never_taken_for_fewer_rows() -> None:
    body = {"inputs": {"a": list(range(100)), "b": list(range(100))}}
    assert 100 <= estimate_rows(JSON, json.dumps(body).encode()) <= 201


def test_csv() -> None:
    assert estimate_rows(b"text/csv; charset=utf-8\n\n", b"a,b\n1,2\n3,4\n") == 2


def test_large_bodies_go_by_size() -> None:
    assert estimate_rows(JSON, b" " * (2 << 20)) == 4096
    assert estimate_rows(JSON, b" " * 16_384) >= 32
