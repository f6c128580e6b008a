"""What the command line says stands above the file."""

from typing import Any

from headrace.cli.overriding import for_all
from headrace.config.load import parse


def document(model: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"models": {"a": {"uri": "models:/a/1", "port": 5001, **model}}, **more}


def test_the_command_line_stands_above_the_file() -> None:
    config = for_all(parse(document({"environment": "exact"})), lambda _: {"environment": "local"})
    assert config.models["a"].environment == "local"
