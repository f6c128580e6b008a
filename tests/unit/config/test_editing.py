"""One model's entry in a file's text is changed, and nothing else of it."""

import pytest
import yaml

from headrace.config.editing import setting, with_model, with_settings, without_model
from headrace.core.errors import UsageError

BLOCK = """\
# ours
registry: {poll_s: 5}
models:
  # the first
  topic:
    uri: models:/topic@production   # what serves
    batch:
      max_rows: 8
  mood: {uri: "models:/mood/1", port: 5002}
  # about what comes next
admin: {port: 5100}
"""
FLOW = 'models: {topic: {uri: "models:/topic/1"}, mood: {uri: "models:/mood/1", env: {A: "1"}}}\n'
LAST = 'models:\n  topic:\n    uri: "models:/topic/1"'
FORMS = pytest.mark.parametrize("text", [BLOCK, FLOW, LAST], ids=["block", "flow", "no newline"])


def read(text: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(text)["models"]
    return found


@FORMS
def test_a_model_comes_and_the_rest_stays(text: str) -> None:
    made = with_model(text, "new", {"uri": "models:/new@production", "batch.max_rows": 4, "replicas": 2})
    assert read(made) == {
        **read(text),
        "new": {"uri": "models:/new@production", "batch": {"max_rows": 4}, "replicas": 2},
    }
    for kept in text.split():
        assert kept.rstrip("},") in made


@FORMS
def test_a_model_that_came_goes_and_leaves_the_file_as_it_was(text: str) -> None:
    assert without_model(with_model(text, "new", {"uri": "models:/new/1"}), "new").strip() == text.strip()


def test_only_the_lines_of_the_model_go() -> None:
    assert without_model(BLOCK, "topic") == BLOCK[: BLOCK.index("  topic")] + BLOCK[BLOCK.index("  mood") :]
    assert without_model(BLOCK, "mood") == "".join(one for one in BLOCK.splitlines(keepends=True) if "mood" not in one)
    assert read(without_model(FLOW, "topic")) == {"mood": {"uri": "models:/mood/1", "env": {"A": "1"}}}
    assert read(without_model(FLOW, "mood")) == {"topic": {"uri": "models:/topic/1"}}
    assert without_model(BLOCK, "nobody") == BLOCK


def test_settings_change_where_they_stand_and_come_where_they_do_not() -> None:
    made = with_settings(BLOCK, "topic", {"uri": "models:/topic/7", "batch.max_rows": 64, "batch.max_delay_ms": 2})
    assert made.replace('"models:/topic/7"', "models:/topic@production").replace("max_rows: 64", "max_rows: 8") == (
        BLOCK.replace("max_rows: 8\n", "max_rows: 8\n      max_delay_ms: 2\n")
    )
    made = with_settings(FLOW, "mood", {"env.A": "2", "queue.max_rows": 9, "replicas": 3})
    assert read(made)["mood"] == {"uri": "models:/mood/1", "env": {"A": "2"}, "queue": {"max_rows": 9}, "replicas": 3}


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", "1e-9"), ("b", 'quo"te'), ("c", "line\nfeed"), ("true", "yes"), ("1.5", "#x"), ("x: y", "${VAR}")],
)
def test_what_is_written_is_what_is_read(name: str, value: str) -> None:
    made = with_model(BLOCK, "new", {"uri": "models:/new/1", "env": {name: value}})
    assert read(made)["new"] == {"uri": "models:/new/1", "env": {name: value}}


def test_what_others_use_as_well_is_left_to_a_person() -> None:
    shared = "models:\n  topic: &one\n    uri: models:/topic/1\n  mood: *one\n"
    with pytest.raises(UsageError, match=r"models\.topic: cannot be changed .* by hand"):
        with_settings(shared, "topic", {"replicas": 2})


def test_what_is_merged_is_displaced_in_the_model_alone() -> None:
    merged = "base: &b {replicas: 2}\nmodels:\n  topic:\n    <<: *b\n    uri: models:/topic/1\n  mood:\n    <<: *b\n"
    made = with_settings(merged, "topic", {"replicas": 3})
    assert read(made) == {"topic": {"replicas": 3, "uri": "models:/topic/1"}, "mood": {"replicas": 2}}


@pytest.mark.parametrize(
    ("text", "name"),
    [("models:\n  topic: {uri: x}\n", "topic"), ("[1]\n", "new"), ("admin: {}\n", "new"), ("models: [\n", "new")],
)
def test_a_file_that_has_it_or_no_models_is_refused(text: str, name: str) -> None:
    with pytest.raises(UsageError):
        with_model(text, name, {"uri": "models:/new/1"})


def test_the_last_model_does_not_go() -> None:
    with pytest.raises(UsageError, match="at least one"):
        without_model(LAST, "topic")


def test_a_value_of_a_command_line_means_what_it_means_in_the_file() -> None:
    assert [setting(text) for text in ("2", "0.5", "true", "[a, b]", "{A: '1'}", "1e-9", "text", "")] == [
        2, 0.5, True, ["a", "b"], {"A": "1"}, 1e-9, "text", "",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        setting("[1")
