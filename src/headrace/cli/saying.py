"""What the commands print: text of others in printable characters, a line as one line."""

from __future__ import annotations

import json
from typing import Any

import click

from headrace.core.escaping import printable, printable_json, printable_lines


def say(text: str, *, err: bool = False, bold: bool = False) -> None:
    """Print one line."""
    click.secho(printable(text), err=err, bold=bold or None)


def say_lines(text: str) -> None:
    """Print lines as they are."""
    click.echo(printable_lines(text.rstrip("\n")))


def say_marked(mark: str, colour: str, text: str, *, indent: str = "") -> None:
    """Print one line behind a mark in a colour."""
    click.echo(f"{indent}{click.style(mark, fg=colour)} {printable(text)}")


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print JSON, on one line where no `indent` is given."""
    click.echo(printable_json(json.dumps(value, indent=indent, ensure_ascii=False)))
