"""When two answers count as the same."""

from __future__ import annotations

import json
import struct

import pytest

from headrace_worker import wire
from headrace_worker.scoring import ScoringOptions
from headrace_worker.scoring.compare import AUTO, Judge


def answer(rows: str, status: int = 200, count: int = 1) -> wire.Answer:
    return wire.Answer(status, b"application/json", b'{"predictions": %s}' % rows.encode(), count)


def near(alone: str, merged: str, tolerance: float | str, *others: str) -> bool:
    """Whether `merged`, the answer of a call that also gave `others`, counts as `alone`."""
    together = [answer(rows) for rows in (merged, *others)]
    return Judge(tolerance, together).near(answer(alone), together[0])


def single(value: float, ulps: int = 0) -> float:
    """The float of 32 bits that is nearest to `value`, or `ulps` further from zero."""
    (bits,) = struct.unpack("I", struct.pack("f", value))
    return float(struct.unpack("f", struct.pack("I", bits + ulps))[0])


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
        assert near(a, b, 1e-9) is alike
    assert not near(one, other, 0)
    assert not near(one, other, 0.0)
    assert near(one, one, 0.0)


@pytest.mark.parametrize("tolerance", [1e-9, AUTO])
def test_what_is_told_of_an_answer_must_be_the_same(tolerance: float | str) -> None:
    judge = Judge(tolerance, [answer("[1.0]")])
    assert not judge.near(answer("[1.0]"), answer("[1.0]", status=400))
    assert not judge.near(answer("[1.0]"), answer("[1.0]", count=2))


@pytest.mark.parametrize(
    "pair", [(1, 2), (True, False), ("a", "b"), (None, float("nan")), (1, 1.0), ([0.1], [0.1, 0.2])]
)
def test_what_is_discrete_is_never_taken_for_noise(pair: tuple[object, object]) -> None:
    for one, other in (pair, pair[::-1]):
        for wrap in (lambda v: [v], lambda v: [{"k": v}], lambda v: [[0.123, v]]):
            assert not near(json.dumps(wrap(one)), json.dumps(wrap(other)), AUTO)


def test_a_label_that_flips_beside_noise_is_a_difference() -> None:
    assert near('[{"p": 0.5, "label": "a"}]', '[{"p": 0.50000000000001, "label": "a"}]', AUTO)
    assert not near('[{"p": 0.5, "label": "a"}]', '[{"p": 0.50000000000001, "label": "b"}]', AUTO)


def test_doubles_may_differ_by_a_billionth() -> None:
    assert near("[0.1234567891]", "[0.12345678915]", AUTO)
    assert not near("[0.1234567891]", "[0.123456790]", AUTO)
    assert not near("[1e-13]", "[2e-13]", AUTO), "there is nothing beside it that would make it small"


def test_floats_of_32_bits_may_differ_by_as_many_of_their_own_steps() -> None:
    one, other = single(0.1234567), single(0.1234567, ulps=300)
    assert near(json.dumps([one]), json.dumps([other]), AUTO)
    assert not near(json.dumps([one]), json.dumps([single(0.1234567, ulps=3000)]), AUTO)
    # The same two as doubles: one that has more digits is in the call.
    assert not near(json.dumps([one]), json.dumps([other]), AUTO, "[0.1]")


@pytest.mark.parametrize(("one", "other"), [(1000.5, 1000.50390625), (0.25, 0.25 + 2**-18), (20001.0, 20002.0)])
def test_short_fractions_are_not_taken_for_floats_of_32_bits(one: float, other: float) -> None:
    """A mean over 256 rows of halves, say, fits into 32 bits by chance."""
    assert not near(json.dumps([one]), json.dumps([other]), AUTO, "[0.5]", "[1.75]")


def test_whole_numbers_in_floats_are_counts_and_labels() -> None:
    assert not near("[1764500000.0]", "[1764500001.0]", AUTO)
    assert near("[1764500000.0]", "[1764500001.0]", AUTO, "[1764500000.3]"), "a quantity that may well be whole"
    assert near("[3.0]", "[3.0000000000000004]", AUTO)


def test_what_is_tiny_beside_its_column_may_differ() -> None:
    assert not near("[1e-17]", "[3e-17]", AUTO)
    assert near("[1e-17]", "[3e-17]", AUTO, "[0.73]")
    assert not near('[{"a": 1e-17, "b": 1.5}]', '[{"a": 3e-17, "b": 1.5}]', AUTO), "of another unit, perhaps"
    assert near('[{"a": 1e-17, "b": 1.5}]', '[{"a": 3e-17, "b": 1.5}]', AUTO, '[{"a": 0.7, "b": 1.5}]')
    assert near("[[1e-17, 8.0]]", "[[3e-17, 8.0]]", AUTO, "[[0.7, 8.0]]")


def test_what_is_tiny_beside_the_others_of_its_row_may_differ() -> None:
    row = [0.5, -1.25, 0.75, 2.5]
    assert near(json.dumps([[1e-16, *row]]), json.dumps([[3e-16, *row]]), AUTO)
    assert near("[[1.0, 0.0]]", "[[1.0, 1e-16]]", AUTO), "the parts of a whole"
    assert not near("[[1e9, 0.3]]", "[[1e9, 0.3001]]", AUTO)
    assert not near(json.dumps([[single(1.1e9), 0.25]]), json.dumps([[single(1.1e9), 0.5]]), AUTO)


def test_an_object_of_lists_is_compared_by_name_and_row() -> None:
    one, other = '{"p": [1e-17], "n": [3]}', '{"p": [3e-17], "n": [3]}'
    assert near(one, other, AUTO, '{"p": [0.7], "n": [3]}')
    assert not near(one, other, AUTO, '{"p": [1e-16], "n": [3]}')
    assert not near(one, other.replace("3]", "4]"), AUTO, '{"p": [0.7], "n": [3]}')
    assert not near(one, '{"p": [3e-17, 0.1], "n": [3, 3]}', AUTO, '{"p": [0.7], "n": [3]}')
    assert not near(one, '{"n": [3], "p": [3e-17]}', AUTO, '{"p": [0.7], "n": [3]}')


def test_missing_values_do_not_hide_noise_or_a_difference() -> None:
    assert near("[NaN, 0.1, Infinity]", "[NaN, 0.10000000000001, Infinity]", AUTO)
    assert not near("[NaN, 0.1]", "[0.1, 0.1]", AUTO)
    assert not near("[Infinity, 0.1]", "[1e300, 0.1]", AUTO)


@pytest.mark.parametrize("tolerance", [-0.1, 1, 1.5, float("nan"), "much", None])
def test_a_tolerance_that_is_none_is_refused(tolerance: float | str) -> None:
    with pytest.raises(ValueError, match="tolerance: expected auto or a number from 0 to below 1"):
        ScoringOptions(tolerance=tolerance)
