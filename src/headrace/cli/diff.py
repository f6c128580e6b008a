"""`headrace diff`: what runs, beside the file that it was started with."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.rich_text import console, plain
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call
from headrace.core.errors import UsageError


@click.command("diff", cls=Exampled, examples=("headrace diff", "headrace diff --json"))
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Compare what runs with its file as that is now: a line for each setting that differs, and how it could change.

    What the command line of 'headrace serve' says stands above the file here, too. Secrets are hidden.

    Exit codes: 0 nothing differs, 1 something does, 2 the file is wrong, or there is none.
    """
    found = call(admin, "/api/reload")
    if as_json:
        say_json(found)
    elif found["problem"]:
        raise UsageError(found["problem"])
    elif found["changes"]:
        show(found["changes"])
    else:
        say(f"{found['file']}: what runs is what it says")
    raise SystemExit(2 if found["problem"] else 1 if found["changes"] else 0)


def show(changes: list[dict[str, Any]]) -> None:
    """Print a table of changes: what runs, what the file says, how one becomes the other."""
    table = Table("setting", "runs", "file", "how", box=None, header_style="bold")
    for one in changes:
        models = f" for {', '.join(one['models'])}" if one["models"] else ""
        table.add_row(*map(plain, (one["setting"], _text(one["before"]), _text(one["after"]), one["how"] + models)))
    console().print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
