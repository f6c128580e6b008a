"""`headrace refresh NAME`: ask the registry now."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option, call, model_path
from headrace.cli.saying import say


@click.command("refresh")
@click.argument("name")
@click.option(
    "--anew", is_flag=True, help="Try again what was refused, withdrawn or rolled back: this undoes a rollback."
)
@admin_option
def command(name: str, anew: bool, admin: str) -> None:  # noqa: FBT001 - click's flag
    """Ask the registry now what model NAME should be, instead of at the next poll.

    What failed for a reason that may have passed is tried again.
    """
    call(admin, model_path(name, "refresh"), method="POST", params={"anew": "true"} if anew else None)
    say(f"{name}: asking the registry; see 'headrace history {name}' for what came of it")
