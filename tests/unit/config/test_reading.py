"""YAML as YAML 1.2 means it, with lines."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from headrace.config.reading import Unreadable, compose, entries, key_of, line_at, number, represent, value_of


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-9", 1e-9), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), (".5", 0.5), ("-3", -3), ("017", 17),
        ("1:30", "1:30"), ("off", "off"), ("yes", "yes"), ("true", True), ("False", False), ("~", None), ("null", None),
        ('"5"', "5"), ("2024-01-01", "2024-01-01"), ("1__0", "1__0"),
    ],
)  # fmt: skip
def test_a_scalar_means_what_it_means_in_yaml_1_2(written: str, value: object) -> None:
    made = value_of(compose(f"a: {written}"))["a"]
    assert (made, type(made)) == (value, type(value))


def test_a_number_of_very_many_digits_is_none() -> None:
    assert number("9" * 301) is None
    assert number(".inf") == float("inf")
    assert number("x") is None


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "is empty"),
        ("a: [1\nb: 2", 2, "not valid YAML: column"),
        ("a: 1\nb: !!python/object:os.system x", 2, "a tag such as"),
        ("a: 1\n? [1]\n: 2", 2, "a key is a text or a number"),
        ("a: &x [*x]", 1, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, 1, "nested too deeply, or too large"),
        ("a: 1\n---\nb: 2", 2, "not valid YAML"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(Unreadable, match=says) as caught:
        compose(text)
    assert caught.value.problem.line == line


def test_aliases_that_multiply_are_refused() -> None:
    text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
    text += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8))
    with pytest.raises(Unreadable, match="too large"):
        compose(text)


def test_what_a_mapping_has_itself_displaces_what_a_merge_brings() -> None:
    node = compose("base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\none: {<<: [*b, *m], x: 3}")
    assert value_of(node)["one"] == {"x": 3, "y": 1, "z": 2}
    assert isinstance(node, yaml.MappingNode)
    assert [key_of(key) for key, _ in entries(node)] == ["base", "more", "one"]


@pytest.mark.parametrize(
    ("path", "line"),
    [("models.topic.port", 4), ("models.two.dots.port", 6), ("models.topic.absent", 2), ("absent", 1), ("list[1]", 7)],
)
def test_a_path_leads_to_the_line_of_what_stands_there_or_around_it(path: str, line: int) -> None:
    text = "models:\n  topic:\n    uri: x\n    port: 1\n  two.dots:\n    port: 1\nlist: [1, 2]\n"
    assert line_at(compose(text), path) == line


def test_what_a_parser_has_made_is_taken_and_what_has_no_form_is_not() -> None:
    document: dict[str, Any] = {"a": [1, {"b": None}]}
    assert value_of(represent(document)) == document
    with pytest.raises(Unreadable):
        represent({"a": object()})
