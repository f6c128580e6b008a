"""When two answers count as the same."""

from __future__ import annotations

import pytest

from headrace_worker import wire
from headrace_worker.scoring.nearness import near


def answer(body: str, status: int = 200, rows: int = 1) -> wire.Answer:
    return wire.Answer(status, b"application/json", body.encode(), rows)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("[1.0]", "[1.0000000001]", True),
        ("[1.0]", "[1.0001]", False),
        ("[1e300]", "[1.0000000001e300]", True),
        ("[0.0]", "[1e-10]", True),
        ("[0.0]", "[-0.0]", True),
        ("[NaN, Infinity]", "[NaN,  Infinity]", True),
        ("[NaN]", "[1.0]", False),
        ("[Infinity]", "[-Infinity]", False),
        ("[1]", "[1.0]", False),
        ("[1]", "[2]", False),
        ("[true]", "[1]", False),
        ("[null]", "[NaN]", False),
        ("[1.0]", "[1.0, 1.0]", False),
        ('[{"a": 1.0, "b": "x"}]', '[{"a": 1.0000000001, "b": "x"}]', True),
        ('[{"a": 1.0, "b": "x"}]', '[{"b": "x", "a": 1.0}]', False),
        ('[{"a": 1.0}]', '[{"a": 1.0, "b": 1.0}]', False),
        ('["a"]', '["b"]', False),
        ("no JSON", "no  JSON", False),
    ],
)
def test_only_floats_may_differ_and_only_so_far(one: str, other: str, *, alike: bool) -> None:
    for a, b in ((one, other), (other, one)):
        assert near(answer(a), answer(b), 1e-9) is alike
    assert not near(answer(one), answer(other), 0.0)
    assert near(answer(one), answer(one), 0.0)


def test_what_is_told_of_an_answer_must_be_the_same() -> None:
    assert not near(answer("[1.0]"), answer("[1.0]", status=400), 1e-9)
    assert not near(answer("[1.0]"), answer("[1.0]", rows=2), 1e-9)
