"""Labels of answers, and how often each was predicted."""

from __future__ import annotations

from typing import Any

from headrace.core.telemetry.drift import OTHER, Drift, Tally, distance, labels_of


def test_labels_are_what_a_model_chooses_between() -> None:
    assert list(labels_of({"predictions": ["a", 1, True, 0.5, None, ["b"]]})) == ["a", "1", "true"]
    assert list(labels_of({"predictions": [{"label": "a", "score": 0.5}, {"other": "b"}]})) == ["a"]
    assert list(labels_of({"predictions": [{"kind": "a"}]}, "kind")) == ["a"]
    nothing: list[Any] = [None, [], {"predictions": "a"}, {"error_code": "BAD_REQUEST"}, "text"]
    for answer in nothing:
        assert list(labels_of(answer)) == []


def test_the_labels_that_are_shown_are_the_most_frequent_and_never_the_rest() -> None:
    drift = Drift(10.0)
    for label in ["b", "c", "c", "a", "a", OTHER, OTHER, OTHER]:
        drift.add(5.0, "m/1", label)
    drift.add(15.0, "m/2", "b")
    drift.add(15.0, "m/2", "b")
    assert drift.top_labels(3) == ["b", "a", "c"]
    assert drift.top_labels(2) == ["b", "a"], "by how often, then by name"
    assert list(drift.by_version) == ["m/1", "m/2"]
    assert {step: tally.total for step, tally in drift.by_time.items()} == {0: 8, 1: 2}


def test_what_is_not_shown_is_one_share() -> None:
    tally = Tally()
    tally.add("a", 6)
    tally.add("b", 3)
    tally.add(OTHER)
    assert tally.shares(["a"]) == {"a": 0.6, OTHER: 0.4}
    assert tally.shares(["a", OTHER]) == {"a": 0.6, OTHER: 0.4}
    assert tally.shares(["a", "b", OTHER]) == {"a": 0.6, "b": 0.3, OTHER: 0.1}
    assert Tally().shares(["a"]) == {}


def test_the_distance_is_the_share_that_would_have_to_change() -> None:
    assert distance({"a": 0.5, "b": 0.5}, {"a": 0.75, "b": 0.25}) == 0.25
    assert distance({"a": 1.0}, {"b": 1.0}) == 1.0
    assert distance({}, {}) == 0.0
