"""`headrace resume NAME`: the registry is followed again."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option, order
from headrace.cli.commands import Exampled
from headrace.client.admin import AdminPort


@click.command("resume", cls=Exampled, examples=("headrace resume classification",))
@click.argument("name")
@click.option("--reason", default="asked for by an operator", show_default=True, help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, reason: str, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Have model NAME follow the registry again, after 'headrace pause NAME'."""
    order(admin, name, "resume", {"reason": reason}, as_json=as_json)
