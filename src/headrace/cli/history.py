"""`headrace history NAME`: what served when, and why it changed."""

from __future__ import annotations

import datetime as dt

import click
from rich.table import Table

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.rich_text import console, plain
from headrace.cli.saying import say_json
from headrace.client.admin import AdminPort, call, model_path


@click.command("history", cls=Exampled, examples=("headrace history classification",))
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
@admin_option
def command(name: str, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Show what served model NAME when, and why it changed; kept across restarts."""
    entries = call(admin, model_path(name, "history"))
    if as_json:
        for entry in entries:
            say_json(entry)
        return
    table = Table("when", "what", "version", "why", box=None, header_style="bold")
    for entry in entries:
        when = dt.datetime.fromtimestamp(entry["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        times = f" ({entry['times']} times)" if "times" in entry else ""
        alias = f" @{entry['alias']}" if "alias" in entry else ""
        table.add_row(when, *map(plain, (entry["event"] + times, entry["version"] + alias, entry["reason"])))
    console().print(table)
