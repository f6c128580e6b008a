"""What is left out is told in a few lines."""

from headrace.core.admin.left_out import by_reason


def test_models_are_told_together_where_the_reason_is_the_same() -> None:
    told = by_reason({"b": "at_most", "a": "at_most", "x y": "another has its name"})
    assert told == [("a, b", "at_most"), ("x y", "another has its name")]


def test_of_many_models_the_first_are_named_and_the_others_counted() -> None:
    ((names, why),) = by_reason({f"m{number:04}": "at_most" for number in range(1500)})
    assert names == ", ".join(f"m{number:04}" for number in range(10)) + " and 1,490 more"
    assert why == "at_most"
