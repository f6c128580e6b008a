"""`headrace refresh NAME`: ask the registry now."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call, model_path


@click.command(
    "refresh", cls=Exampled, examples=("headrace refresh classification", "headrace refresh classification --anew")
)
@click.argument("name")
@click.option(
    "--anew", is_flag=True, help="Try again what was refused, withdrawn or rolled back: this undoes a rollback."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, anew: bool, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flags
    """Ask the registry now what model NAME should be, instead of at the next poll.

    What failed for a reason that may have passed is tried again.
    """
    answer = call(admin, model_path(name, "refresh"), method="POST", params={"anew": "true"} if anew else None)
    if as_json:
        say_json({"model": name, **answer})
        return
    say(f"{name}: asking the registry; see 'headrace history {name}' for what came of it")
