"""Model URIs, as PROTOCOL's table has them."""

import pytest

from headrace.core.errors import UsageError
from headrace.core.identity import parse_model_uri, safe_name, served_name, valid_name


@pytest.mark.parametrize(
    ("text", "kind", "name", "selector", "moves"),  # moves: is it watched?
    [
        ("models:/n/3", "version", "n", "3", False),
        ("models:/n@alias", "alias", "n", "alias", True),
        ("models:/n@Alias", "alias", "n", "Alias", True),
        ("models:/n/Production", "stage", "n", "Production", True),
        ("models:/n/latest", "latest", "n", "latest", True),
        ("models:/n/Latest", "latest", "n", "Latest", True),
        ("models:/a/b/3", "version", "a/b", "3", False),
        ("models:/two%20words/3", "version", "two words", "3", False),
        ("models:/m-1f3a", "logged_model", None, "m-1f3a", False),
        ("runs:/abc/model", "run", None, "abc/model", False),
        ("s3://bucket/model", "path", None, "s3://bucket/model", False),
        ("./dir/model", "path", None, "./dir/model", False),
    ],
)
def test_forms(text: str, kind: str, name: str | None, selector: str, *, moves: bool) -> None:
    uri = parse_model_uri(text)
    assert (uri.kind, uri.name, uri.selector, uri.moves) == (kind, name, selector, moves)


@pytest.mark.parametrize(
    "text", ["", "  ", "models:/", "models:/n", "models:/n@", "models:/@a", "models:/n/", "models:/n@a/b"]
)
def test_what_is_no_model_uri(text: str) -> None:
    with pytest.raises(UsageError, match="model URI"):
        parse_model_uri(text)


@pytest.mark.parametrize("number", [str(2**31), "9" * 23, "9" * 5000])
def test_a_version_that_no_registry_can_have(number: str) -> None:
    with pytest.raises(UsageError, match="no registry has so many versions"):
        parse_model_uri(f"models:/n/{number}")
    assert parse_model_uri(f"models:/n/{2**31 - 1}").kind == "version"


def test_a_digit_of_another_script_is_no_version() -> None:
    with pytest.raises(UsageError, match="is no stage"):
        parse_model_uri("models:/n/²")


def test_a_served_name_can_stand_in_a_url() -> None:
    assert served_name(parse_model_uri("models:/two%20words/3")) == "two-words"
    assert served_name(parse_model_uri("file:///tmp/my%20model/")) == "my-20model"
    assert served_name(parse_model_uri("/")) == "model"
    for text in ("ä ö", "...", "a/b", ""):
        assert valid_name(safe_name(text))
