"""`headrace config`: a configuration file looked at without serving anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from headrace.cli.commands import Suggesting
from headrace.cli.saying import say, say_json, say_lines, say_marked
from headrace.config import replicas, tree
from headrace.config.load import load_file
from headrace.config.schema import schema
from headrace.config.showing import missing_files, shown
from headrace.config.traffic import WILDCARD
from headrace.core.errors import ConfigErrors, UsageError

_FILE = click.argument("file", type=click.Path(path_type=Path), required=False, envvar="HEADRACE_CONFIG")
_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")


@click.group("config", cls=Suggesting)
def command() -> None:
    """Check a headrace.yaml, show it with all defaults, or print its JSON Schema.

    FILE is HEADRACE_CONFIG where it is not given.
    """


@command.command("check", examples=("headrace config check headrace.yaml",))
@_FILE
@_JSON
def check(file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Say all that is wrong with FILE, or which models it serves; starts nothing and asks no registry.

    Files that it names and that are not on this machine are told, and no mistake. Exit codes: 0 fits, 2 does not.
    """
    if file is None:
        raise UsageError("give the file: headrace config check headrace.yaml")
    try:
        config = load_file(file)
    except ConfigErrors as error:
        if not as_json:
            raise
        told = [{"line": line, "path": path, "says": says} for path, says, line in error.problems]
        say_json({"file": str(file), "ok": False, "problems": told, "missing": []})
        raise SystemExit(2) from None
    missing = missing_files(config)
    if as_json:
        told = [{"path": path, "file": named} for path, named in missing]
        say_json({"file": str(file), "ok": True, "problems": [], "missing": told})
        return
    for name, model in _models(config).items():
        where = f"port {model.port}" if model.port else "a free port" if model.port == 0 else "the shared port"
        say_marked("✓", "green", f"{name}: {model.uri} on {where}, {replicas.in_words(model)}")
    for path, named in missing:
        say_marked("·", "yellow", f"{path}: {named} is not on this machine")
    say(f"{file}: fits")


@command.command("show", examples=("headrace config show headrace.yaml",))
@_FILE
@_JSON
def show(file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Print FILE with everything: each setting with its value or default, variables expanded. Secrets are hidden.

    Without a file: the defaults.
    """
    document = shown(load_file(file) if file is not None else tree.Config())
    if as_json:
        say_json(document, indent=2)
    else:
        say_lines(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120))


@command.command(
    "schema",
    examples=(
        "headrace config schema > headrace.schema.json",
        "# and as the first line of headrace.yaml:",
        "# yaml-language-server: $schema=headrace.schema.json",
    ),
)
def schema_command() -> None:
    """Print the JSON Schema of headrace.yaml: with it an editor completes, explains and underlines."""
    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


def _models(config: tree.Config) -> dict[str, Any]:
    return {**config.models, **({WILDCARD: config.wildcard} if config.wildcard is not None else {})}
