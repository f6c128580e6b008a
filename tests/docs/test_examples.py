"""Every YAML and JSON example of the documentation is taken by what it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from headrace.config import kinds, tree
from headrace.config.load import load_file, parse
from headrace.config.reading import Unreadable, compose, value_of
from headrace.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BODY = re.compile(r"""(?:-d|--data|--data-raw|--data-binary) '([^'@]*)'""")
PART = "# part of "
MODEL = {"uri": "models:/topic@production", "port": 5001}


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[1] == language:
                line = text.count("\n", 0, found.start()) + 1
                yield pytest.param(found[2], id=f"{page.relative_to(ROOT)}:{line}")


def texts(*languages: str) -> list[str]:
    return [one.values[0] for language in languages for one in blocks(language)]


def spans() -> Iterator[Any]:
    """Settings in the running text, such as `batch: {max_rows: 1}`."""
    names = {field.name for _, section in kinds.sections(tree.Config) for field in msgspec.structs.fields(section)}
    for page in PAGES:
        text = FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text(encoding="utf-8"))
        for found in re.finditer(r"`([^`\n]+)`", text):
            key = re.match(r"([a-z_]+)(\.[a-z_]+)*: \S", found[1])
            if key and key[1] in names and "..." not in found[1].replace("[...]", ""):
                line = text.count("\n", 0, found.start()) + 1
                yield pytest.param(found[1], id=f"{page.relative_to(ROOT)}:{line}:{found[1]}")


def completed(text: str, folder: Path) -> Path:
    """The file that an excerpt is of."""
    file = folder / "headrace.yaml"
    document = value_of(compose(text))
    file.write_text(text if "models" in document else f"{text}\nmodels: {json.dumps({'topic': MODEL})}\n")
    return file


@pytest.mark.parametrize("text", [*blocks("yaml")])
def test_a_block_of_yaml_is_taken_as_it_stands(text: str, tmp_path: Path) -> None:
    """A block that is not a whole headrace.yaml says so in its first line: of what it is a part."""
    if text.startswith(PART) and not text.startswith(f"{PART}headrace.yaml"):
        assert isinstance(yaml.safe_load(text), dict)
        return
    if text.startswith(PART):
        file = completed(text, tmp_path)
    else:
        file = tmp_path / "headrace.yaml"
        file.write_text(text, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "as the reader has set it")
    assert load_file(file, environ).models or load_file(file, environ).wildcard


def test_there_are_such_blocks() -> None:
    assert len([*blocks("yaml")]) > 10
    assert len([*spans()]) > 20


def test_json_is_json() -> None:
    bodies = [body for text in texts("sh", "console", "bash") for body in BODY.findall(text)]
    assert bodies
    for body in [*texts("json"), *bodies]:
        json.loads(body)


@pytest.mark.parametrize("text", [*spans()])
def test_a_setting_in_the_text_is_taken(text: str) -> None:
    """`a | b` stands for either; N for a number."""
    values = re.sub(r"\bN\b", "2", text.replace("[...]", "[]")).replace("\\|", "|")
    before, bar, after = values.partition("|")
    either = [values]
    if bar:
        one, other = before.rstrip(), after.lstrip()
        either = [one + re.sub(r"^\w+", "", other), re.sub(r"\w+$", "", one) + other]
    for written in either:
        document = nested(value_of(compose(f"{{{written}}}")))
        assert any(takes(document, path) for path, section in kinds.sections(tree.Config) if has(section, document)), (
            written
        )


def has(section: type[msgspec.Struct], settings: dict[str, Any]) -> bool:
    """Whether the section has all these keys; in another they cannot stand, which `takes` finds out slowly."""
    return settings.keys() <= {field.encode_name for field in msgspec.structs.fields(section)}


def nested(document: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in document.items():
        first, dot, rest = name.partition(".")
        made[first] = {rest: value} if dot else value
    return made


def takes(settings: dict[str, Any], path: str) -> bool:
    """Whether the settings may stand in the section at `path`."""
    within: dict[str, Any] = {}
    inner = within
    for part in path.replace("models.NAME", "topic").split("."):
        inner = inner.setdefault(part, {}) if part else inner
    inner.update(settings)
    top = {key: value for key, value in within.items() if key != "topic"}
    required = {"alias": "next", "path": "logs"}
    for part, key in (("shadow", "alias"), ("prediction_log", "path")):
        if isinstance(section := within.get("topic", {}).get(part), dict):
            section.setdefault(key, required[key])
    try:
        parse({"gateway": {"port": 0}, **top, "models": {"topic": {**MODEL, **within.get("topic", {})}}})
    except (ConfigError, Unreadable):
        return False
    return True
