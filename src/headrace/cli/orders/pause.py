"""`headrace pause NAME`: no version changes until it is resumed."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option, order
from headrace.cli.commands import Exampled
from headrace.client.admin import AdminPort


@click.command("pause", cls=Exampled, examples=("headrace pause classification --reason 'the sale ends on Monday'",))
@click.argument("name")
@click.option("--reason", default="asked for by an operator", show_default=True, help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, reason: str, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Keep the version of model NAME that serves, whatever the registry says, until 'headrace resume NAME'.

    A restart does not end it. What does badly while it is paused is told, and not sent back; a canary that does badly
    gives its share back all the same.
    """
    order(admin, name, "pause", {"reason": reason}, as_json=as_json)
