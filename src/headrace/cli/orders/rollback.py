"""`headrace rollback NAME`: back to the version before."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option, order
from headrace.cli.commands import Exampled
from headrace.client.admin import AdminPort


@click.command(
    "rollback",
    cls=Exampled,
    examples=(
        "headrace rollback classification --reason 'wrong labels'",
        "headrace rollback classification --to 5",
    ),
)
@click.argument("name")
@click.option("--to", metavar="VERSION", help="Another version that served well [default: the one before].")
@click.option("--reason", default="asked for by an operator", show_default=True, help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, to: str | None, reason: str, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Go back to the version that served model NAME before, until the registry points at another one.

    It takes effect at once while that version is still warm; otherwise as soon as it is up again. The version that
    served is marked bad: a second rollback goes further back. 'headrace refresh NAME --anew' undoes it.
    """
    order(admin, name, "rollback", {"reason": reason} | ({"to": to} if to is not None else {}), as_json=as_json)
